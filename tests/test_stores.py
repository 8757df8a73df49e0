"""What every session store holds to, and what an LMDB store holds to beyond that."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.sessions import Commit, LmdbStore, Session, SessionStore, StoreError, open_store
from service.settings import Settings


def make_session(id_: str = "a", revision: int = 1, moves: tuple[int, ...] = (3, 1, 2)) -> Session:
    surprisal = np.linspace(0.5, 2, len(moves), dtype=np.float32)
    following = np.array([-0.1, -2.5], np.float32)
    return Session(
        id_, "chess", "1", "f00d", "beef", {"white_elo": 1500}, moves, surprisal, following, b"\x00state", revision
    )


def fields(session: Session | None) -> tuple[object, ...]:
    """Everything of a session, comparable bit for bit."""
    assert session is not None
    return session, session.surprisal.tobytes(), session.next.tobytes()


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    store = open_store(Settings(store=request.param, data_dir=tmp_path / "data", store_gib=1))
    yield store
    store.close()


def test_what_is_committed_is_loaded_in_the_order_asked_for(store: SessionStore):
    sessions = [make_session("a", moves=()), make_session("b", moves=(70_000,)), make_session("c")]
    assert store.commit_many([Commit(session, None) for session in sessions]) == [True, True, True]
    loaded = store.load_many(["c", "nobody", "a", "b", "c"])
    assert loaded[1] is None
    assert [fields(loaded[index]) for index in (2, 3, 0, 4)] == [fields(sessions[index]) for index in (0, 1, 2, 2)]


def test_nothing_asked_is_nothing_given(store: SessionStore):
    assert store.load_many([]) == store.commit_many([]) == store.delete_many([]) == []


def test_a_commit_that_expects_no_session_is_refused_where_there_is_one(store: SessionStore):
    assert store.commit_many([Commit(make_session(), None)]) == [True]
    assert store.commit_many([Commit(make_session(moves=(9,)), None)]) == [False]
    assert fields(store.load_many(["a"])[0]) == fields(make_session())


def test_a_commit_is_kept_only_over_the_revision_it_expects(store: SessionStore):
    after = make_session(revision=2, moves=(3, 1, 2, 4))
    assert store.commit_many([Commit(after, 1)]) == [False]
    assert store.load_many(["a"]) == [None]
    store.commit_many([Commit(make_session(), None)])
    assert store.commit_many([Commit(after, 0), Commit(after, 2), Commit(after, 1)]) == [False, False, True]
    assert store.commit_many([Commit(make_session(revision=2, moves=(5,)), 1)]) == [False]
    assert fields(store.load_many(["a"])[0]) == fields(after)


def test_of_several_commits_to_one_id_in_one_call_the_first_wins(store: SessionStore):
    rivals = [make_session(moves=(number,)) for number in range(3)]
    others = [make_session("b")]
    assert store.commit_many([Commit(session, None) for session in rivals + others]) == [True, False, False, True]
    assert fields(store.load_many(["a"])[0]) == fields(rivals[0])


def test_later_commits_of_a_call_see_the_earlier_ones(store: SessionStore):
    steps = [make_session(revision=revision, moves=tuple(range(revision))) for revision in range(1, 5)]
    commits = [Commit(session, session.revision - 1 or None) for session in steps]
    assert store.commit_many(commits) == [True] * 4
    assert fields(store.load_many(["a"])[0]) == fields(steps[-1])


def test_deleting_says_what_was_there(store: SessionStore):
    store.commit_many([Commit(make_session(id_), None) for id_ in "ab"])
    assert store.delete_many(["a", "nobody", "a"]) == [True, False, False]
    assert [session is None for session in store.load_many(["a", "b"])] == [True, False]
    assert store.commit_many([Commit(make_session(), None)]) == [True]


def test_the_longest_id_a_session_may_have_can_be_kept(store: SessionStore):
    session = make_session("~" * 128)
    assert store.commit_many([Commit(session, None)]) == [True]
    assert fields(store.load_many([session.id])[0]) == fields(session)


def test_a_large_session_is_kept_whole(store: SessionStore):
    moves = tuple(range(50_000))
    session = replace(make_session(moves=moves), state=bytes(range(256)) * 4000)
    assert store.commit_many([Commit(session, None)]) == [True]
    assert fields(store.load_many(["a"])[0]) == fields(session)


# Records

names = st.text(st.characters(codec="utf-8"), max_size=40)
float32s = arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
ids = st.lists(st.integers(0, (1 << 16) - 1) | st.integers(0, (1 << 32) - 1), max_size=40).map(tuple)
revisions = st.integers(0, (1 << 63) - 1)
contexts = st.dictionaries(names, st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | names, max_size=4)


@given(names, names, names, names, names, contexts, ids, float32s, st.binary(max_size=100), revisions, st.data())
@example("", "", "", "", "", {}, (), np.zeros(0, np.float32), b"", 0, None)
def test_a_record_holds_a_session_bit_for_bit(
    id_: str,
    model: str,
    version: str,
    graph: str,
    vocabulary: str,
    context: dict[str, int | str | None],
    moves: tuple[int, ...],
    following: np.ndarray,
    state: bytes,
    revision: int,
    data: st.DataObject | None,
):
    drawn = arrays.arrays(np.float32, len(moves), elements=st.floats(width=32))
    surprisal = data.draw(drawn) if data else np.zeros(0, np.float32)
    session = Session(id_, model, version, graph, vocabulary, context, moves, surprisal, following, state, revision)
    assert fields(Session.unpack(session.pack())) == fields(session)


def test_a_record_of_another_format_is_refused():
    record = make_session().pack()
    with pytest.raises(ValueError, match="format 7; this version reads format 1"):
        Session.unpack(b"\x07" + record[1:])


# LMDB

ELSEWHERE = """
import sys
from dataclasses import replace
from pathlib import Path
from service.sessions import Commit, LmdbStore

store = LmdbStore(Path(sys.argv[1]), 1, False)
found, = store.load_many(["a"])
kept = store.commit_many([Commit(replace(found, moves=(*found.moves, 9), revision=2), 1), Commit(found, 1)])
store.close()
print(found.moves, kept)
"""


def open_lmdb(folder: Path, fsync: bool = False) -> LmdbStore:
    return LmdbStore(folder, 1, fsync)


@pytest.mark.parametrize("fsync", [True, False])
def test_lmdb_keeps_what_it_acknowledged_when_it_is_opened_again(tmp_path: Path, fsync: bool):
    for revision in range(1, 4):
        store = open_lmdb(tmp_path, fsync)
        before = store.load_many(["a"])[0]
        assert (before.revision if before else 0) == revision - 1
        assert store.commit_many([Commit(make_session(revision=revision), revision - 1 or None)]) == [True]
        store.close()


def test_two_processes_see_each_others_commits(tmp_path: Path):
    store = open_lmdb(tmp_path)
    store.commit_many([Commit(make_session(), None)])
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    elsewhere = subprocess.run(command, capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == "(3, 1, 2) [True, False]"
    assert store.commit_many([Commit(make_session(revision=2), 1)]) == [False]
    session = store.load_many(["a"])[0]
    assert session is not None
    assert (session.moves, session.revision) == ((3, 1, 2, 9), 2)
    store.close()


def test_lmdb_says_why_a_folder_cannot_be_used(tmp_path: Path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=f"{folder}: sessions cannot be kept there: "):
            open_lmdb(folder)


def test_a_call_that_fails_keeps_nothing_and_the_store_goes_on(tmp_path: Path):
    store = open_lmdb(tmp_path)
    too_long_a_key = make_session("x" * 1000)
    with pytest.raises(lmdb.Error):
        store.commit_many([Commit(make_session("a"), None), Commit(too_long_a_key, None)])
    assert store.load_many(["a"]) == [None]
    assert store.commit_many([Commit(make_session("a"), None)]) == [True]
    store.close()
