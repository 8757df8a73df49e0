"""What every session store holds to, and what those that forget by themselves hold to beyond that."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import lmdb
import numpy as np
import pytest
import valkey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.sessions import (
    Cache,
    Commit,
    Expired,
    Forgotten,
    Found,
    Limits,
    LmdbStore,
    MemoryStore,
    Session,
    SessionStore,
    StoreError,
    Unreadable,
    open_store,
)
from service.sessions.valkey import ValkeyStore
from service.settings import Settings
from tests.valkey_server import ValkeyServer

# The moment at which sessions are played here, in milliseconds, and what it takes to be forgotten.
NOW = 1_000_000
LIMITS = Limits(state_ttl=1000, session_ttl=600_000, max_states=1000, max_sessions=1000)


def make_session(id_: str = "a", revision: int = 1, moves: tuple[int, ...] = (3, 1, 2), used: int = NOW) -> Session:
    surprisal = array("f", np.linspace(0.5, 2, len(moves)))
    cache = Cache("f00d" * 16, surprisal, np.array([-0.1, -2.5], np.float32), b"\x00state")
    return Session(id_, "chess", "1", "00000000deadbeef", {"white_elo": 1500}, moves, revision, used, cache)


def cold(session: Session) -> Session:
    return replace(session, cache=None)


def fields(session: Found) -> tuple[object, ...]:
    """Everything of a session, comparable bit for bit."""
    assert isinstance(session, Session)
    cache = session.cache
    if cache is None:
        return session, None
    return session, cache.graph, cache.surprisal.tobytes(), cache.next.tobytes(), cache.state


def load(store: SessionStore, id_: str = "a") -> Found:
    return store.load_many([id_])[0]


def commit(store: SessionStore, *sessions: Session) -> None:
    """Keep new sessions."""
    assert all(store.commit_many([Commit(session, None) for session in sessions]))


class Kind(Protocol):
    """A store, and what can be done to it behind its back."""

    store: SessionStore

    def plant(self, id_: str, log: bytes | None, cache: bytes | None) -> None:
        """Put records in place."""

    def cool(self) -> None:
        """Let all sessions lose their caches."""

    def expire(self) -> None:
        """Let all sessions be forgotten, and all marks of sessions that were forgotten before."""


class Memory:
    def __init__(self) -> None:
        self.store = MemoryStore(LIMITS)
        self.now = NOW

    def plant(self, id_: str, log: bytes | None, cache: bytes | None) -> None:
        before = self.store._records.get(id_, (b"", None))
        self.store._records[id_] = log or before[0], before[1] if cache is None else cache

    def cool(self) -> None:
        self.now += LIMITS.state_ttl + 1
        self.store.forget(self.now)

    def expire(self) -> None:
        self.now += LIMITS.session_ttl + 1
        self.store.forget(self.now)


class Lmdb(Memory):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.store = LmdbStore(folder, 1, False, LIMITS)

    def plant(self, id_: str, log: bytes | None, cache: bytes | None) -> None:
        with self.store._env.begin(write=True) as transaction:
            for database, record in (self.store._logs, log), (self.store._caches, cache):
                if record is not None:
                    transaction.put(id_.encode(), record, db=database)


class Valkey:
    """Here it is the server that forgets, so it is done by hand."""

    def __init__(self, url: str) -> None:
        self.client = valkey.Valkey.from_url(url)
        self.client.flushall()
        self.store = ValkeyStore(url, LIMITS)

    def plant(self, id_: str, log: bytes | None, cache: bytes | None) -> None:
        for name, record in ("log", log), ("cache", cache):
            if record is not None:
                self.client.set(f"nextply:{{{id_}}}:{name}", record)

    def cool(self) -> None:
        self._drop("cache")

    def expire(self) -> None:
        logs = self.client.keys("nextply:{*}:log")
        alive = {key[: -len(b":log")] + b":was" for key in logs}
        for mark in self.client.keys("nextply:{*}:was"):
            if mark not in alive:
                self.client.delete(mark)
        self._drop("log")
        self._drop("cache")

    def _drop(self, name: str) -> None:
        for key in self.client.keys(f"nextply:{{*}}:{name}"):
            self.client.delete(key)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["memory", "lmdb", "valkey"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    makers: dict[str, Callable[[], Kind]] = {
        "memory": Memory,
        "lmdb": lambda: Lmdb(tmp_path / "data"),
        "valkey": lambda: Valkey(request.getfixturevalue("server").url),
    }
    kind = makers[request.param]()
    yield kind
    kind.store.close()
    if isinstance(kind, Valkey):
        kind.client.close()


@pytest.fixture
def store(kind: Kind) -> SessionStore:
    return kind.store


@pytest.fixture(params=["memory", "lmdb"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., SessionStore]]:
    """Makes a store with limits of one's own, of those that forget when they are told the time."""
    stores: list[SessionStore] = []

    def make(**limits: int) -> SessionStore:
        own = replace(LIMITS, **limits)
        memory = request.param == "memory"
        stores.append(MemoryStore(own) if memory else LmdbStore(tmp_path / "data", 1, False, own))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


# Loading, committing, deleting


def test_what_is_committed_is_loaded_in_the_order_asked_for(store: SessionStore):
    sessions = [make_session("a", moves=()), make_session("b", moves=(70_000,)), make_session("c")]
    commit(store, *sessions)
    loaded = store.load_many(["c", "nobody", "a", "b", "c"])
    assert loaded[1] is None
    assert [fields(loaded[index]) for index in (2, 3, 0, 4)] == [fields(sessions[index]) for index in (0, 1, 2, 2)]


def test_nothing_asked_is_nothing_given(store: SessionStore):
    assert store.load_many([]) == store.commit_many([]) == store.delete_many([]) == []


def test_a_session_without_a_cache_is_loaded_without_one(store: SessionStore):
    commit(store, cold(make_session()))
    assert fields(load(store)) == fields(cold(make_session()))


def test_a_commit_without_a_cache_drops_the_one_that_was_there_and_a_later_one_brings_it_back(store: SessionStore):
    commit(store, make_session())
    assert store.commit_many([Commit(cold(make_session(revision=2)), 1)]) == [True]
    assert fields(load(store)) == fields(cold(make_session(revision=2)))
    assert store.commit_many([Commit(make_session(revision=3), 2)]) == [True]
    assert fields(load(store)) == fields(make_session(revision=3))


def test_what_is_kept_is_told_from_what_is_not_any_more(store: SessionStore):
    session, after = make_session(), make_session(revision=2, moves=(3, 1, 2, 4))
    assert store.has_many([]) == []
    assert store.has_many([session]) == [False]
    commit(store, session)
    # A store that cannot know without a journey may say no, but never yes to what has changed.
    knows = not isinstance(store, ValkeyStore)
    assert store.has_many([session, load(store)]) == [knows, knows]
    assert store.has_many([after, session, cold(session)]) == [False, knows, False]
    assert store.commit_many([Commit(after, 1)]) == [True]
    assert store.has_many([session, after]) == [False, knows]
    assert store.commit_many([Commit(cold(make_session(revision=3)), 2)]) == [True]
    assert store.has_many([make_session(revision=3), cold(make_session(revision=3))]) == [False, knows]
    assert store.delete_many(["a"]) == [True]
    assert store.has_many([cold(make_session(revision=3))]) == [False]


def test_a_commit_says_when_nothing_but_the_disk_is_waited_for(store: SessionStore):
    told: list[bool] = []
    commits = [Commit(make_session(), None), Commit(make_session("b"), None)]
    assert store.commit_many(commits, waits=lambda: told.append(True)) == [True, True]
    assert told == ([True] if isinstance(store, LmdbStore) else [])
    assert [fields(one) for one in store.load_many(["a", "b"])] == [fields(commit.session) for commit in commits]


def test_a_commit_that_expects_no_session_is_refused_where_there_is_one(store: SessionStore):
    commit(store, make_session())
    assert store.commit_many([Commit(make_session(moves=(9,)), None)]) == [False]
    assert fields(load(store)) == fields(make_session())


def test_a_commit_is_kept_only_over_the_revision_it_expects(store: SessionStore):
    after = make_session(revision=2, moves=(3, 1, 2, 4))
    assert store.commit_many([Commit(after, 1)]) == [False]
    assert load(store) is None
    commit(store, make_session())
    assert store.commit_many([Commit(after, 0), Commit(after, 2), Commit(after, 1)]) == [False, False, True]
    assert store.commit_many([Commit(make_session(revision=2, moves=(5,)), 1)]) == [False]
    assert load(store) == after


def test_revisions_are_compared_to_the_last_bit(store: SessionStore):
    first = 1_800_000_000_000_000_001
    commit(store, make_session(revision=first))
    for wrong in first - 1, first + 1, first + (1 << 62), first & 0xFF:
        assert store.commit_many([Commit(make_session(revision=first + 9), wrong)]) == [False]
    assert store.commit_many([Commit(make_session(revision=(1 << 64) - 1), first)]) == [True]
    assert fields(load(store)) == fields(make_session(revision=(1 << 64) - 1))


def test_of_several_commits_to_one_id_in_one_call_the_first_wins(store: SessionStore):
    rivals = [make_session(moves=(number,)) for number in range(3)]
    others = [make_session("b")]
    assert store.commit_many([Commit(session, None) for session in rivals + others]) == [True, False, False, True]
    assert fields(load(store)) == fields(rivals[0])


def test_later_commits_of_a_call_see_the_earlier_ones(store: SessionStore):
    steps = [make_session(revision=revision, moves=tuple(range(revision))) for revision in range(1, 5)]
    commits = [Commit(session, session.revision - 1 or None) for session in steps]
    assert store.commit_many(commits) == [True] * 4
    assert load(store) == steps[-1]


def test_deleting_says_what_was_there(store: SessionStore):
    commit(store, make_session("a"), cold(make_session("b")), make_session("c"))
    assert store.delete_many(["a", "nobody", "a", "b"]) == [True, False, False, True]
    assert [found is None for found in store.load_many(["a", "b", "c"])] == [True, True, False]
    commit(store, make_session())


def test_the_longest_id_a_session_may_have_can_be_kept(store: SessionStore):
    session = make_session("~" * 128)
    commit(store, session)
    assert fields(load(store, session.id)) == fields(session)
    assert store.scan(None, 10, "").sessions == [session]


def test_a_large_session_is_kept_whole(store: SessionStore):
    session = make_session(moves=tuple(range(50_000)))
    assert session.cache is not None
    session = replace(session, cache=replace(session.cache, state=bytes(range(256)) * 4000))
    commit(store, session)
    assert fields(load(store)) == fields(session)


# What is damaged or does not belong together


def test_a_cache_of_another_game_is_not_given_with_a_log(kind: Kind):
    commit(kind.store, make_session())
    longer, others = make_session(moves=(3, 1, 2, 4)), make_session(moves=(3, 1, 4))
    for other in longer, others, replace(make_session(), version="2"), replace(make_session(), context={}):
        kind.plant("a", None, other.pack()[1])
        assert fields(load(kind.store)) == fields(cold(make_session()))


def test_a_cache_may_be_some_plies_behind_and_is_given_as_what_it_is(store: SessionStore):
    moves = tuple(range(30))
    commit(store, make_session(moves=()))
    behind = []
    for ply in range(1, 31):
        assert store.commit_many([Commit(make_session("a", ply + 1, moves[:ply]), ply, own=ply)]) == [True]
        found = load(store)
        assert isinstance(found, Session)
        assert found.cache is not None
        assert fields(found) == fields(replace(found, cache=make_session(moves=moves[: found.cache.ply]).cache))
        behind.append(found.ply - found.cache.ply)
    assert max(behind) == (7 if isinstance(store, LmdbStore) else 0)
    assert behind.count(0) >= 6


def test_no_cache_is_behind_of_a_session_in_which_several_processes_play(store: SessionStore):
    for revision in range(1, 10):
        session = make_session("a", revision, tuple(range(revision)))
        assert store.commit_many([Commit(session, revision - 1 or None, own=revision % 3)]) == [True]
        assert fields(load(store)) == fields(session)


def test_a_cache_of_moves_that_were_taken_back_is_not_kept(store: SessionStore):
    commit(store, make_session(moves=(1, 2, 3, 4)))
    for revision, moves in enumerate([(1, 2), (1, 2, 5), (1, 2, 5, 6), (9,), (9, 8), (7,)], 1):
        assert store.commit_many([Commit(make_session("a", revision + 1, moves), revision, own=9)]) == [True]
        found = load(store)
        assert isinstance(found, Session)
        assert found.moves.tolist() == list(moves)
        assert found.cache is not None
        assert fields(found) == fields(replace(found, cache=make_session(moves=moves[: found.cache.ply]).cache))


@pytest.mark.parametrize("cache", [b"", b"cut", None])
def test_a_damaged_cache_is_as_good_as_none(kind: Kind, cache: bytes | None):
    commit(kind.store, make_session())
    whole = make_session().pack()[1]
    assert whole is not None
    kind.plant("a", None, whole[:60] if cache is None else cache)
    assert fields(load(kind.store)) == fields(cold(make_session()))


@pytest.mark.parametrize(
    "log", [b"\x07 of another format", make_session().pack()[0][:-1], make_session().pack()[0][:20]]
)
def test_a_record_that_cannot_be_read_hurts_no_other(kind: Kind, log: bytes):
    store = kind.store
    commit(store, make_session("a"), make_session("b"), make_session("c"))
    kind.plant("b", log, None)
    first, second, third = store.load_many(["a", "b", "c"])
    assert [fields(first), fields(third)] == [fields(make_session("a")), fields(make_session("c"))]
    assert isinstance(second, Unreadable)
    assert "session record" in second.reason
    assert {session.id for session in everything(store)} == {"a", "c"}
    commits = [Commit(make_session("b"), None), Commit(make_session("c", 2), 1)]
    assert store.commit_many(commits) == [False, True]
    assert store.delete_many(["b"]) == [True]
    commit(store, make_session("b"))
    assert fields(load(store, "b")) == fields(make_session("b"))


# Listing


def everything(
    store: SessionStore, count: int = 10, meanwhile: Callable[[], None] = lambda: None, prefix: str = ""
) -> list[Session]:
    found: list[Session] = []
    after: str | None = None
    while True:
        page = store.scan(after, count, prefix)
        assert len(page.sessions) <= count + 16
        found += page.sessions
        after = page.after
        if after is None:
            return found
        meanwhile()


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_a_listing_gives_every_session_without_its_cache(store: SessionStore, count: int):
    sessions = {f"s{number}": make_session(f"s{number}", number + 1) for number in range(60)}
    commit(store, *sessions.values())
    found = everything(store, count)
    assert {session.id: session for session in found} == sessions
    assert all(session.cache is None for session in found)
    assert len(found) == len(sessions)


@pytest.mark.parametrize("count", [1, 3, 1000])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/b-", "b/", "a*", "a[/-z]", "~~~", "é" * 600])
def test_a_listing_of_a_prefix_gives_the_sessions_that_begin_so_and_no_others(
    store: SessionStore, count: int, prefix: str
):
    ids = {"a", "a/1", "a/a", "a/b-1", "a/b-2", "a/z", "a0", "aa/1", "b", "b/1", "a*/1", "a[/-z]"}
    commit(store, *(make_session(id_) for id_ in sorted(ids)))
    found = [session.id for session in everything(store, count, prefix=prefix)]
    assert len(found) == len(set(found))
    assert set(found) == {id_ for id_ in ids if id_.startswith(prefix) and "/" not in id_.removeprefix(prefix)}


def test_a_listing_never_stands_at_what_is_of_another_tenant(store: SessionStore):
    own = {f"{letter}{number}" for letter in "agz" for number in range(3)}
    others = {f"{tenant}/{number}" for tenant in ("a", "a0", "b", "g1", "zz") for number in range(40)}
    commit(store, *(make_session(id_) for id_ in sorted(own | others)))
    for count in 1, 3, 5:
        after, found = None, []
        while True:
            page = store.scan(after, count, "")
            found += [session.id for session in page.sessions]
            after = page.after
            if after is None:
                break
            assert after in own or after.isdigit()
        assert set(found) == own


def test_a_listing_of_a_prefix_never_goes_on_beyond_it(store: SessionStore):
    commit(store, *(make_session(id_) for id_ in ("a/1", "a/2", "b/1", "b/2")))
    for after in "1", "2", "b/1", "../b/0", "\U0010ffff":
        try:
            page = store.scan(after, 5, "a/")
        except ValueError:
            continue
        assert {session.id for session in page.sessions} <= {"a/1", "a/2"}


def test_a_listing_of_nothing_is_one_empty_page(store: SessionStore):
    page = store.scan(None, 5, "")
    assert (page.sessions, page.after) == ([], None)


def test_a_listing_misses_no_session_while_others_come_and_go(store: SessionStore):
    stay = {f"stay-{number}" for number in range(100)}
    commit(store, *(make_session(id_) for id_ in sorted(stay)))
    commit(store, *(make_session(f"go-{number}") for number in range(300)))
    going, coming = itertools.count(), itertools.count()

    def meanwhile() -> None:
        store.delete_many([f"go-{next(going)}" for _ in range(30)])
        commit(store, *(make_session(f"come-{next(coming)}") for _ in range(20)))

    assert {session.id for session in everything(store, 20, meanwhile)} >= stay


def test_a_listing_passes_over_sessions_that_are_gone(kind: Kind):
    commit(kind.store, *(make_session(f"gone-{number}") for number in range(30)))
    kind.expire()
    commit(kind.store, make_session("a"), make_session("z"))
    assert {session.id for session in everything(kind.store, 5)} == {"a", "z"}


def test_no_place_in_a_listing_makes_a_store_stumble(store: SessionStore):
    commit(store, make_session())
    for after in "", "x" * 256, "é" * 256, "-1", "²", "9" * 30:
        try:
            page = store.scan(after, 5, "")
        except ValueError:
            continue
        assert page.sessions in ([], [make_session()])


# Forgetting


def test_a_session_that_lost_its_cache_is_whole_otherwise(kind: Kind):
    commit(kind.store, make_session("a"), cold(make_session("b")))
    kind.cool()
    assert [fields(found) for found in kind.store.load_many(["a", "b"])] == [
        fields(cold(make_session("a"))),
        fields(cold(make_session("b"))),
    ]
    assert kind.store.commit_many([Commit(make_session("a", 2), 1)]) == [True]
    assert fields(load(kind.store)) == fields(make_session("a", 2))


def test_of_a_session_that_was_forgotten_it_is_known_that_it_was(kind: Kind):
    commit(kind.store, make_session("a"), cold(make_session("b")))
    kind.expire()
    assert kind.store.load_many(["a", "b", "nobody"]) == [Expired(), Expired(), None]
    assert kind.store.commit_many([Commit(make_session(revision=2), 1)]) == [False]
    kind.expire()
    assert kind.store.load_many(["a", "b"]) == [None, None]


def test_a_new_session_may_take_the_id_of_one_that_was_forgotten(kind: Kind):
    commit(kind.store, make_session())
    kind.expire()
    commit(kind.store, make_session(revision=7))
    assert fields(load(kind.store)) == fields(make_session(revision=7))
    assert kind.store.delete_many(["a"]) == [True]
    assert load(kind.store) is None


def test_deleting_what_was_forgotten_leaves_no_trace(kind: Kind):
    commit(kind.store, make_session())
    kind.expire()
    assert kind.store.delete_many(["a"]) == [False]
    assert load(kind.store) is None


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["commit", "commit", "commit", "delete", "cool", "expire"]), st.sampled_from("abc"))
    | st.tuples(st.just("wrong"), st.sampled_from("abc")),
    max_size=25,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS, st.data())
def test_a_store_does_what_a_dict_does(kind: Kind, operations: list[tuple[str, str]], data: st.DataObject):
    store, model = kind.store, dict[str, Session | Expired]()
    store.delete_many("abc")
    for revision, (what, id_) in enumerate(operations, 1):
        stored = model.get(id_)
        alive = stored.revision if isinstance(stored, Session) else None
        if what == "commit":
            session = make_session(id_, revision, tuple(range(revision % 4)), getattr(kind, "now", NOW))
            session = session if data.draw(st.booleans()) else cold(session)
            assert store.commit_many([Commit(session, alive)]) == [True]
            model[id_] = session
        elif what == "wrong":
            expected = 0 if alive is None else data.draw(st.sampled_from([None, alive - 1, alive + 1]))
            assert store.commit_many([Commit(make_session(id_, revision), expected)]) == [False]
        elif what == "delete":
            assert store.delete_many([id_]) == [alive is not None]
            model.pop(id_, None)
        elif what == "cool":
            kind.cool()
            model = {id_: cold(found) if isinstance(found, Session) else found for id_, found in model.items()}
        elif what == "expire":
            kind.expire()
            model = {id_: Expired() for id_, found in model.items() if isinstance(found, Session)}
        for found, meant in zip(store.load_many("abc"), map(model.get, "abc"), strict=True):
            assert found == meant
            if isinstance(meant, Session):
                assert isinstance(found, Session)
                behind = meant.cache
                if behind is not None:
                    assert found.cache is not None
                    assert 0 <= meant.ply - found.cache.ply < 4
                    behind = make_session(moves=tuple(range(found.cache.ply))).cache
                assert fields(found) == fields(replace(meant, cache=behind))
        assert {session.id for session in everything(store)} == {
            id_ for id_, found in model.items() if isinstance(found, Session)
        }


# Forgetting when told the time: memory and LMDB


def forget(store: SessionStore, now: int) -> Forgotten:
    """Forget until nothing is left to be."""
    total = Forgotten()
    while (some := store.forget(now)) != Forgotten():
        total = Forgotten(total.states + some.states, total.sessions + some.sessions)
    return total


def states(store: SessionStore, ids: str) -> str:
    """What there is of each session: W with a state, c without, x only that it was, - nothing."""
    found = store.load_many(ids)
    return "".join(
        "-" if one is None else "x" if not isinstance(one, Session) else "c" if one.cache is None else "W"
        for one in found
    )


def test_what_is_idle_loses_its_state_then_its_log_then_the_mark_that_it_was(make_store: Callable[..., SessionStore]):
    store = make_store(state_ttl=10, session_ttl=100)
    commit(store, make_session("a", used=0), make_session("b", used=5), cold(make_session("c", used=0)))
    assert (forget(store, 10), states(store, "abc")) == (Forgotten(0, 0), "WWc")
    assert (forget(store, 11), states(store, "abc")) == (Forgotten(1, 0), "cWc")
    assert (forget(store, 100), states(store, "abc")) == (Forgotten(1, 0), "ccc")
    assert (forget(store, 101), states(store, "abc")) == (Forgotten(0, 2), "xcx")
    assert (forget(store, 201), states(store, "abc")) == (Forgotten(0, 1), "xxx")
    assert (forget(store, 202), states(store, "abc")) == (Forgotten(0, 0), "-x-")
    assert (forget(store, 302), states(store, "abc")) == (Forgotten(0, 0), "---")


def test_who_plays_is_not_idle(make_store: Callable[..., SessionStore]):
    store = make_store(state_ttl=10, session_ttl=100)
    commit(store, make_session("a", used=0))
    assert store.commit_many([Commit(make_session("a", 2, used=95), 1)]) == [True]
    assert (forget(store, 101), states(store, "a")) == (Forgotten(0, 0), "W")
    assert (forget(store, 196), states(store, "a")) == (Forgotten(1, 1), "x")


def test_too_many_states_are_given_up_the_least_recently_used_first(make_store: Callable[..., SessionStore]):
    store = make_store(max_states=2)
    commit(store, *(make_session(id_, used=NOW + used) for id_, used in zip("abcd", (3, 1, 4, 2), strict=True)))
    assert (forget(store, NOW), states(store, "abcd")) == (Forgotten(2, 0), "WcWc")
    assert store.commit_many([Commit(make_session("b", 2, used=NOW + 5), 1)]) == [True]
    assert (forget(store, NOW), states(store, "abcd")) == (Forgotten(1, 0), "cWWc")


def test_too_many_sessions_are_forgotten_the_least_recently_used_first(make_store: Callable[..., SessionStore]):
    store = make_store(max_sessions=2)
    commit(store, *(make_session(id_, used=NOW + used) for id_, used in zip("abcd", (3, 1, 4, 2), strict=True)))
    assert (forget(store, NOW), states(store, "abcd")) == (Forgotten(0, 2), "WxWx")
    # It counts when a session was used, not whether it has a state.
    assert store.commit_many([Commit(cold(make_session("d", used=NOW + 9)), None)]) == [True]
    assert (forget(store, NOW), states(store, "abcd")) == (Forgotten(0, 1), "xxWc")


def test_no_state_at_all_may_be_kept(make_store: Callable[..., SessionStore]):
    store = make_store(max_states=0)
    commit(store, make_session("a"), make_session("b"))
    assert (forget(store, NOW), states(store, "ab")) == (Forgotten(2, 0), "cc")


def test_many_are_forgotten_some_at_a_time(make_store: Callable[..., SessionStore]):
    store = make_store(max_states=300, max_sessions=700)
    # A hundred at a time: LMDB does not tell apart who was used within some seconds, if there are many.
    commit(store, *(make_session(str(number), used=NOW + number // 100 * 20_000) for number in range(1500)))
    assert forget(store, NOW).sessions == 800
    kept = everything(store, 1000)
    assert {session.id for session in kept} == {str(number) for number in range(800, 1500)}
    warm = [isinstance(one, Session) and one.cache is not None for one in store.load_many(list(map(str, range(1500))))]
    assert warm == [False] * 1200 + [True] * 300
    assert forget(store, NOW + 2 * LIMITS.session_ttl).sessions == 700
    assert forget(store, NOW + 4 * LIMITS.session_ttl) == Forgotten()


# Watching


def test_who_watches_a_session_hears_of_its_writes_and_of_no_others(store: SessionStore):
    heard = {id_: threading.Semaphore(0) for id_ in "ab"}
    leaves = [store.watch(id_, heard[id_].release) for id_ in "ab"]
    if isinstance(store, LmdbStore):
        assert leaves == [None, None]
        return
    for semaphore in heard.values():
        # Where it takes time to begin, that it has begun is said by a call for nothing.
        semaphore.acquire(timeout=1 if isinstance(store, ValkeyStore) else 0)
    commit(store, make_session())
    assert heard["a"].acquire(timeout=2)
    assert store.commit_many([Commit(make_session(revision=2), 1)]) == [True]
    assert heard["a"].acquire(timeout=2)
    assert store.delete_many(["a"]) == [True]
    assert heard["a"].acquire(timeout=2)
    assert not heard["b"].acquire(blocking=False)


def test_who_left_hears_nothing_and_others_still_do(store: SessionStore):
    first, second = threading.Semaphore(0), threading.Semaphore(0)
    leave, other = store.watch("a", first.release), store.watch("a", second.release)
    if leave is None or other is None:
        assert isinstance(store, LmdbStore)
        return
    if isinstance(store, ValkeyStore):
        # Both may be called when watching begins, the second only if it came before that.
        assert first.acquire(timeout=2)
        second.acquire(timeout=0.05)
    leave()
    leave()
    commit(store, make_session())
    assert second.acquire(timeout=2)
    assert not first.acquire(blocking=False)
    other()
    assert store.delete_many(["a"]) == [True]
    assert not second.acquire(timeout=0.05)


# Records

fingerprints = st.binary(min_size=8, max_size=8).map(bytes.hex)
names = st.text(st.characters(codec="utf-8"), max_size=40)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
float32s = arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
tokens = st.lists(st.integers(0, (1 << 16) - 1) | st.integers(0, (1 << 32) - 1), max_size=40).map(tuple)
u64s = st.integers(0, (1 << 64) - 1)
contexts = st.dictionaries(names, st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | names, max_size=4)
caches = st.none() | st.builds(
    Cache, hashes, float32s.map(lambda given: array("f", given.tobytes())), float32s, st.binary(max_size=100)
)


def fitting(session: Session) -> Session:
    """Let a session's cache know of no more moves than there were."""
    cache = session.cache
    return (
        session if cache is None else replace(session, cache=replace(cache, surprisal=cache.surprisal[: session.ply]))
    )


sessions = st.builds(Session, names, names, names, fingerprints, contexts, tokens, u64s, u64s, caches).map(fitting)


@given(sessions)
@example(Session("", "", "", "00" * 8, {}, (), 0, 0, Cache("00" * 32, array("f"), np.zeros(0, np.float32), b"")))
def test_a_record_holds_a_session_bit_for_bit(session: Session):
    log, cache = session.pack()
    assert fields(Session.unpack(session.id, log, cache)) == fields(session)
    assert fields(Session.unpack(session.id, log)) == fields(cold(session))


@given(sessions, st.data())
def test_a_record_that_was_cut_is_never_taken_for_a_session(session: Session, data: st.DataObject):
    log, cache = session.pack()
    with pytest.raises(ValueError, match="session record"):
        Session.unpack(session.id, log[: data.draw(st.integers(0, len(log) - 1))], cache)


def test_a_record_of_another_format_is_refused():
    record = make_session().pack()[0]
    with pytest.raises(ValueError, match="format 7; this version reads format 3"):
        Session.unpack("a", b"\x07" + record[1:])


# LMDB

ELSEWHERE = """
import sys
from dataclasses import replace
from pathlib import Path
from service.sessions import Commit, Limits, LmdbStore

store = LmdbStore(Path(sys.argv[1]), 1, False, Limits(1000, 1000, 10, 10))
found, = store.load_many(["a"])
kept = store.commit_many([Commit(replace(found, moves=(*found.moves, 9), revision=2), 1), Commit(found, 1)])
store.close()
print(found.moves.tolist(), kept)
"""
READ_FOR_EVER = """
import sys, time
from pathlib import Path
from service.sessions import Limits, LmdbStore

store = LmdbStore(Path(sys.argv[1]), 1, False, Limits(1000, 1000, 10, 10))
with store._env.begin() as transaction:
    transaction.get(b"a", db=store._logs)
    print("reading", flush=True)
    time.sleep(60)
"""


def open_lmdb(folder: Path, fsync: bool = False) -> LmdbStore:
    return LmdbStore(folder, 1, fsync, LIMITS)


@pytest.mark.parametrize("fsync", [True, False])
def test_lmdb_keeps_what_it_acknowledged_when_it_is_opened_again(tmp_path: Path, fsync: bool):
    for revision in range(1, 4):
        store = open_lmdb(tmp_path, fsync)
        before = load(store)
        assert (before.revision if isinstance(before, Session) else 0) == revision - 1
        assert store.commit_many([Commit(make_session(revision=revision), revision - 1 or None)]) == [True]
        store.close()


def test_what_lmdb_forgets_it_forgets_after_it_was_opened_again_too(tmp_path: Path):
    store = open_lmdb(tmp_path)
    commit(store, make_session("a"), cold(make_session("b")))
    store.close()
    store = open_lmdb(tmp_path)
    assert forget(store, NOW + LIMITS.session_ttl + 1) == Forgotten(1, 2)
    store.close()
    store = open_lmdb(tmp_path)
    assert store.load_many("ab") == [Expired(), Expired()]
    store.close()


def test_two_processes_see_each_others_commits(tmp_path: Path):
    store = open_lmdb(tmp_path)
    commit(store, make_session())
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    elsewhere = subprocess.run(command, capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == "[3, 1, 2] [True, False]"
    assert store.commit_many([Commit(make_session(revision=2), 1)]) == [False]
    session = load(store)
    assert isinstance(session, Session)
    assert (session.moves.tolist(), session.revision) == ([3, 1, 2, 9], 2)
    store.close()


def test_a_process_that_was_killed_while_it_read_does_not_make_the_file_grow(tmp_path: Path):
    store = open_lmdb(tmp_path)
    session = make_session()
    assert session.cache is not None
    session = replace(session, cache=replace(session.cache, state=bytes(500_000)))
    commit(store, session)
    command = [sys.executable, "-c", READ_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        os.kill(reader.pid, signal.SIGKILL)
    store.forget(NOW)
    for revision in range(1, 100):
        assert store.commit_many([Commit(replace(session, revision=revision + 1), revision)]) == [True]
    store.close()
    assert (tmp_path / "sessions.lmdb" / "data.mdb").stat().st_size < 5_000_000


def test_lmdb_says_why_a_folder_cannot_be_used(tmp_path: Path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=f"{folder}: sessions cannot be kept there: "):
            open_lmdb(folder)


@pytest.mark.parametrize("entry", [(b"format", b"1"), (b"a", b"a session, in the days when there was no format")])
def test_lmdb_refuses_a_file_of_another_format_and_leaves_it_as_it_is(tmp_path: Path, entry: tuple[bytes, bytes]):
    for _ in range(2):
        with (
            lmdb.open(str(tmp_path / "sessions.lmdb"), max_dbs=8) as environment,
            environment.begin(write=True) as there,
        ):
            there.put(*entry)
            assert there.stat()["entries"] == 1
        with pytest.raises(StoreError, match=f"{re.escape(str(tmp_path))}: its sessions are not of format 3"):
            open_lmdb(tmp_path)


def test_a_call_that_fails_keeps_nothing_and_the_store_goes_on(tmp_path: Path):
    store = open_lmdb(tmp_path)
    too_long_a_key = make_session("x" * 1000)
    with pytest.raises(lmdb.Error):
        store.commit_many([Commit(make_session("a"), None), Commit(too_long_a_key, None)])
    assert load(store) is None
    commit(store, make_session("a"))
    store.close()


def test_a_damaged_record_does_not_let_lmdb_forget_the_session_that_took_its_place(tmp_path: Path):
    kind = Lmdb(tmp_path)
    commit(kind.store, make_session())
    kind.plant("a", b"damaged, and so nobody knows when it was used", None)
    assert kind.store.delete_many(["a"]) == [True]
    late = make_session(used=NOW + 2 * LIMITS.session_ttl)
    commit(kind.store, late)
    assert forget(kind.store, NOW + LIMITS.session_ttl + 1).sessions == 0
    assert load(kind.store) == late
    kind.store.close()


# Opening


def test_the_settings_name_the_store(tmp_path: Path, server: ValkeyServer):
    named = {"memory": MemoryStore, "lmdb": LmdbStore, server.url: ValkeyStore}
    for store, kind in named.items():
        opened = open_store(Settings(store=store, data_dir=tmp_path, store_gib=1))
        assert type(opened) is kind
        opened.close()
