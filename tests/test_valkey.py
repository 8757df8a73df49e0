"""What the Valkey store holds to when the server stops, hangs, forgets, refuses, or is shared with others."""

import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import valkey
from pydantic import ValidationError
from valkey.crc import key_slot

from service.sessions import Commit, Expired, Found, Limits, Session, StoreError
from service.sessions.valkey import ValkeyStore, _keys
from service.settings import Settings
from tests.test_stores import commit, everything, load, make_session, states
from tests.valkey_server import ValkeyServer

LIMITS = Limits(state_ttl=600_000, session_ttl=6_000_000, max_states=10, max_sessions=10)
PASSWORD = "s3cr3t"
APP_USER = "--user", "app", "on", ">pa/ss#1", "~nextply:*", "&nextply:*", "+@all"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def client(shared: ValkeyServer) -> Iterator[valkey.Valkey]:
    with valkey.Valkey.from_url(shared.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def store(shared: ValkeyServer, client: valkey.Valkey) -> Iterator[ValkeyStore]:
    with closing(ValkeyStore(shared.url, LIMITS)) as store:
        yield store


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ValkeyServer]]:
    """Starts servers of one's own, which end with the test."""
    with ExitStack() as stack:
        yield lambda *args, name="own": stack.enter_context(ValkeyServer(tmp_path / name, *args))


@contextmanager
def opened(url: str, limits: Limits = LIMITS) -> Iterator[ValkeyStore]:
    with closing(ValkeyStore(url, limits)) as store:
        yield store


def seconds_until(done: Callable[[], bool], limit: float = 5) -> float:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < limit
        time.sleep(0.01)
    return time.monotonic() - began


def answers(store: ValkeyStore) -> bool:
    try:
        store.load_many(["-"])
    except StoreError:
        return False
    return True


def seconds_refused(store: ValkeyStore, match: str = "is away") -> float:
    began = time.monotonic()
    with pytest.raises(StoreError, match=match):
        store.load_many(["a"])
    return time.monotonic() - began


# What is stored


def test_of_a_session_there_are_three_keys_with_a_time_to_live(store: ValkeyStore, client: valkey.Valkey):
    commit(store, make_session())
    lives = {key.decode(): client.pttl(key) for key in client.keys("*")}
    expected = {"log": LIMITS.session_ttl, "cache": LIMITS.state_ttl, "was": 2 * LIMITS.session_ttl}
    assert lives == {f"nextply:{{a}}:{name}": pytest.approx(life, abs=5000) for name, life in expected.items()}


def test_all_keys_of_a_session_are_in_one_slot_of_a_cluster():
    for id_ in "a", "a.b:c~d_e-f", "x" * 128:
        assert len({key_slot(key.encode()) for key in _keys(id_)}) == 1


def test_the_store_works_on_a_node_of_a_cluster(start: Callable[..., ValkeyServer]):
    server = start("--cluster-enabled", "yes")
    with valkey.Valkey.from_url(server.url) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        seconds_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    with opened(server.url) as store:
        heard = threading.Semaphore(0)
        store.watch("3", heard.release)
        assert heard.acquire(timeout=2)
        sessions = [make_session(str(number)) for number in range(10)]
        commit(store, *sessions)
        assert heard.acquire(timeout=2)
        assert store.load_many([session.id for session in sessions]) == sessions
        assert {session.id for session in everything(store)} == {session.id for session in sessions}
        assert store.delete_many(["3", "nobody"]) == [True, False]


def test_an_idle_session_loses_its_state_then_its_log_then_the_mark_that_it_was(
    shared: ValkeyServer, client: valkey.Valkey
):
    with opened(shared.url, Limits(state_ttl=60, session_ttl=180, max_states=1, max_sessions=1)) as store:
        commit(store, make_session())
        began, seen = time.monotonic(), [(0.0, "W")]
        while seen[-1][1] != "-":
            now = states(store, "a")
            if now != seen[-1][1]:
                seen.append((time.monotonic() - began, now))
            time.sleep(0.002)
        assert [state for _, state in seen] == ["W", "c", "x", "-"]
        # When that was is told after the server knew it, and may be seen late on a busy machine.
        assert all(due - 0.01 < at < due + 0.2 for (at, _), due in zip(seen[1:], (0.06, 0.18, 0.36), strict=True))


def test_a_call_is_one_round_trip_however_many_sessions(store: ValkeyStore, client: valkey.Valkey):
    def reads() -> int:
        return int(client.info("stats")["total_reads_processed"])

    sessions = [make_session(str(number)) for number in range(64)]
    for call in (
        lambda: store.load_many([session.id for session in sessions]),
        lambda: store.commit_many([Commit(session, None) for session in sessions]),
        lambda: store.delete_many([session.id for session in sessions]),
    ):
        before = reads()
        call()
        # A large request may arrive in a few pieces; one of them is this question.
        assert reads() - before < 8


def test_a_server_that_lost_its_scripts_is_no_special_case(store: ValkeyStore, client: valkey.Valkey):
    commit(store, make_session())
    client.script_flush()
    assert store.commit_many([Commit(make_session(revision=2), 1)]) == [True]
    client.script_flush()
    assert store.delete_many(["a"]) == [True]


def test_keys_of_others_are_none_of_our_sessions(store: ValkeyStore, client: valkey.Valkey):
    client.mset({f"other:{number}": b"" for number in range(1000)} | {"nextply:{a}": b"", "nextply:a:log": b""})
    client.hset("nextply:{list}:log", "what", "a key of the wrong type")
    commit(store, make_session())
    assert everything(store) == [replace(make_session(), cache=None)] == [load(store)]
    assert load(store, "list") is None


# Who writes at the same time


def test_of_many_who_write_to_one_session_none_is_lost_and_none_doubled(shared: ValkeyServer, store: ValkeyStore):
    commit(store, make_session(moves=()))

    def play(player: int) -> None:
        with opened(shared.url) as own:
            played = 0
            while played < 40:
                found = load(own)
                assert isinstance(found, Session)
                after = replace(found, moves=(*found.moves, player), revision=found.revision + 1, cache=None)
                played += own.commit_many([Commit(after, found.revision)])[0]

    players = [threading.Thread(target=play, args=(player,)) for player in range(4)]
    for player in players:
        player.start()
    for player in players:
        player.join(20)
    end = load(store)
    assert isinstance(end, Session)
    assert sorted(end.moves) == sorted(list(range(4)) * 40)
    assert end.revision == 161


# A server that stops


def test_no_acknowledged_commit_is_lost_when_the_server_is_killed(start: Callable[..., ValkeyServer]):
    server = start("--appendonly", "yes", "--appendfsync", "always")
    stop = threading.Event()
    acknowledged: dict[str, Session] = {}
    lost: list[str] = []

    def play(player: int) -> None:
        ids = [f"{player}-{number}" for number in range(8)]
        with opened(server.url) as store:
            while not stop.is_set():
                try:
                    for id_, found in zip(ids, store.load_many(ids), strict=True):
                        known = acknowledged.get(id_)
                        plies = found.ply if isinstance(found, Session) else 0
                        if known is not None and plies < known.ply:
                            lost.append(id_)
                        now = found if isinstance(found, Session) else None
                        after = make_session(id_, 1 if now is None else now.revision + 1, tuple(range(plies + 1)))
                        if store.commit_many([Commit(after, None if now is None else now.revision)]) == [True]:
                            acknowledged[id_] = after
                except StoreError:
                    time.sleep(0.01)

    players = [threading.Thread(target=play, args=(player,)) for player in range(3)]
    for player in players:
        player.start()
    for _ in range(4):
        before = sum(session.ply for session in acknowledged.values())
        seconds_until(lambda before=before: sum(session.ply for session in list(acknowledged.values())) > before + 100)
        server.restart()
    stop.set()
    for player in players:
        player.join(20)
    with opened(server.url) as store:
        for id_, session in acknowledged.items():
            found = load(store, id_)
            assert isinstance(found, Session)
            # One more may have been kept whose answer was lost with the server.
            assert session.ply <= found.ply <= session.ply + 1
            assert list(found.moves) == list(range(found.ply))
    assert lost == []


def test_a_server_that_is_away_is_said_to_be_at_once_and_found_when_it_is_back(start: Callable[..., ValkeyServer]):
    server = start("--appendonly", "yes", "--appendfsync", "always")
    with opened(server.url) as store:
        commit(store, make_session())
        server.kill()
        assert max(seconds_refused(store) for _ in range(20)) < 0.3
        with pytest.raises(StoreError, match=f"127.0.0.1:{server.port} is away"):
            store.commit_many([Commit(make_session(revision=2), 1)])
        server.start()
        assert seconds_until(lambda: answers(store)) < 1
        assert load(store) == make_session()


def test_a_server_that_came_back_between_two_calls_was_never_away(start: Callable[..., ValkeyServer]):
    server = start("--appendonly", "yes", "--appendfsync", "always")
    with opened(server.url) as store:
        commit(store, make_session())
        server.restart()
        assert store.commit_many([Commit(make_session(revision=2), 1)]) == [True]


def test_a_store_may_be_opened_before_its_server_is_there(start: Callable[..., ValkeyServer]):
    server = start()
    server.stop()
    with opened(server.url) as store:
        assert seconds_refused(store) < 0.3
        server.start()
        assert seconds_until(lambda: answers(store)) < 1


def test_a_server_that_hangs_is_waited_for_once_and_not_in_every_call(start: Callable[..., ValkeyServer]):
    server = start()
    with opened(server.url + "?socket_timeout=0.3") as store:
        commit(store, make_session())
        server.freeze()
        with pytest.raises(StoreError, match="is away"):
            store.commit_many([Commit(make_session(revision=2), 1)])
        assert sum(seconds_refused(store) for _ in range(10)) < 0.1
        server.thaw()
        assert seconds_until(lambda: answers(store)) < 1
        # Whether it was kept is known by asking, and it was not kept twice.
        found = load(store)
        assert isinstance(found, Session)
        assert store.commit_many([Commit(make_session(revision=3), found.revision)]) == [True]


def test_a_server_that_still_reads_its_files_is_away(start: Callable[..., ValkeyServer]):
    slow = "--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"
    server = start("--appendonly", "yes", "--aof-use-rdb-preamble", "yes", *slow)
    with opened(server.url) as store:
        commit(store, *(make_session(str(number)) for number in range(500)))
        with valkey.Valkey.from_url(server.url) as client:
            client.bgrewriteaof()
            seconds_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        server.kill()
        server.start(wait=False)
        said = []
        began = time.monotonic()
        while True:
            try:
                found = store.load_many(["0", "499"])
                break
            except StoreError as error:
                said.append(str(error))
            assert time.monotonic() - began < 10
            time.sleep(0.01)
        assert any("loading" in reason for reason in said)
        assert found == [make_session("0"), make_session("499")]


def test_a_replica_is_refused_until_it_is_the_primary(start: Callable[..., ValkeyServer]):
    primary = start("--repl-diskless-sync-delay", "0")
    other = start("--replicaof", "127.0.0.1", str(primary.port), name="replica")
    with opened(primary.url) as store, opened(other.url) as elsewhere:
        with valkey.Valkey.from_url(other.url) as replica, valkey.Valkey.from_url(primary.url) as client:
            seconds_until(lambda: replica.info("replication")["master_link_status"] == "up")
            commit(store, make_session())
            seconds_refused(elsewhere, "it is a replica")
            replica.execute_command("REPLICAOF NO ONE")
            client.execute_command("REPLICAOF 127.0.0.1", other.port)
        with pytest.raises(StoreError, match="read only replica"):
            store.commit_many([Commit(make_session(revision=2), 1)])
        seconds_refused(store, "it is a replica")
        seconds_until(lambda: answers(elsewhere))
        assert elsewhere.commit_many([Commit(make_session(revision=2), 1)]) == [True]


# Watching


def test_who_watches_hears_of_what_other_processes_write(shared: ValkeyServer, store: ValkeyStore):
    heard = threading.Semaphore(0)
    leave = store.watch("a", heard.release)
    assert heard.acquire(timeout=2)
    with opened(shared.url) as other:
        commit(other, make_session("b"), make_session("a"))
        assert heard.acquire(timeout=2)
        assert other.commit_many([Commit(make_session(revision=2), None)]) == [False]
        assert not heard.acquire(timeout=0.05)
        assert other.delete_many(["a"]) == [True]
        assert heard.acquire(timeout=2)
        leave()


def test_who_watches_hears_that_something_may_have_been_missed_while_the_server_was_away(
    start: Callable[..., ValkeyServer], caplog: pytest.LogCaptureFixture
):
    server = start()
    with opened(server.url) as store, opened(server.url) as other:
        heard = {id_: threading.Semaphore(0) for id_ in "abc"}
        for id_ in "ab":
            store.watch(id_, heard[id_].release)
            assert heard[id_].acquire(timeout=2)
        server.kill()
        # Who comes while the server is away is heard of when it is back.
        store.watch("c", heard["c"].release)
        assert not heard["c"].acquire(timeout=0.05)
        server.start()
        began = time.monotonic()
        assert all(semaphore.acquire(timeout=2) for semaphore in heard.values())
        assert time.monotonic() - began < 1
        seconds_until(lambda: answers(other))
        commit(other, make_session("b"))
        assert heard["b"].acquire(timeout=2)
        assert not heard["a"].acquire(blocking=False)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "until the store is back" in warnings[0]


def test_a_server_that_hangs_is_noticed_by_who_only_listens(
    start: Callable[..., ValkeyServer], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.sessions.channels._SILENCE", 0.1)
    server = start()
    with opened(server.url + "?socket_timeout=0.2") as store:
        heard = threading.Semaphore(0)
        store.watch("a", heard.release)
        assert heard.acquire(timeout=2)
        # Silence alone is no reason to begin anew.
        assert not heard.acquire(timeout=0.5)
        server.freeze()
        time.sleep(0.4)
        server.thaw()
        assert heard.acquire(timeout=2)


def test_many_watchers_come_and_go_and_nobody_is_left_behind(
    shared: ValkeyServer, store: ValkeyStore, client: valkey.Valkey
):
    heard = [threading.Semaphore(0) for _ in range(300)]
    leaves = [store.watch(f"s{number}", semaphore.release) for number, semaphore in enumerate(heard)]
    assert all(semaphore.acquire(timeout=2) for semaphore in heard)
    assert len(client.pubsub_channels()) == 300
    for leave in leaves[10:]:
        leave()
    seconds_until(lambda: len(client.pubsub_channels()) == 10)
    commit(store, *(make_session(f"s{number}") for number in range(300)))
    assert all(semaphore.acquire(timeout=2) for semaphore in heard[:10])
    for leave in leaves[:10]:
        leave()
    seconds_until(lambda: client.info("clients")["pubsub_clients"] == 0)
    assert not any(semaphore.acquire(blocking=False) for semaphore in heard)


def test_a_watcher_that_fails_does_not_keep_others_from_hearing(store: ValkeyStore, caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise RuntimeError("its event loop is closed")

    heard = threading.Semaphore(0)
    store.watch("a", fail)
    store.watch("a", heard.release)
    seconds_until(lambda: "its event loop is closed" in caplog.text)
    commit(store, make_session())
    assert heard.acquire(timeout=2)


def test_closing_ends_the_thread_at_once_whether_the_server_is_there_or_not(start: Callable[..., ValkeyServer]):
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "store-channels"]

    server = start()
    for away in False, True:
        store = ValkeyStore(server.url, LIMITS)
        assert threads() == []
        leave = store.watch("a", lambda: None)
        assert threads() != []
        if away:
            server.kill()
            time.sleep(0.1)
        began = time.monotonic()
        store.close()
        assert threads() == []
        assert time.monotonic() - began < 0.5
        leave()


# A server that is full


def test_a_full_server_gives_up_states_before_logs_and_what_was_idle_longest_first(start: Callable[..., ValkeyServer]):
    server = start("--maxmemory-policy", "volatile-ttl", "--maxmemory-samples", "64")
    large = make_session()
    assert large.cache is not None
    large = replace(large, cache=replace(large.cache, state=bytes(4000)))
    total = 2000
    # A longer life stands for having been used later.
    with valkey.Valkey.from_url(server.url) as client:
        for first in range(0, total, 100):
            late = first * 100
            limits = replace(LIMITS, state_ttl=LIMITS.state_ttl + late, session_ttl=LIMITS.session_ttl + late)
            with opened(server.url, limits) as store:
                commit(store, *(replace(large, id=f"s{number}") for number in range(first, first + 100)))
        ids = [f"s{number}" for number in range(total)]
        room = client.info("memory")["used_memory"]

        def shrink(store: ValkeyStore, part: float) -> list[Found]:
            """Let the server have so much less room, and give what it still has when it is done."""
            nonlocal room
            room = int(room * part)
            client.config_set("maxmemory", room)
            evicted = -1
            while evicted != (evicted := client.info("stats")["evicted_keys"]):
                time.sleep(0.02)
            return [one for first in range(0, total, 100) for one in store.load_many(ids[first : first + 100])]

        with opened(server.url) as store:
            kept = [one.cache is not None for one in shrink(store, 0.6) if isinstance(one, Session)]
            assert len(kept) == total
            # Which keys it looks at is chance, so the order is nearly, and not quite, that of their use.
            assert total * 0.1 < sum(kept) < total * 0.9
            assert sum(kept[-sum(kept) :]) > 0.9 * sum(kept)
            commit(store, replace(large, id="new"))
            # Only with all states gone are logs next, and that they were is still known.
            while Expired() not in (found := shrink(store, 0.9)):
                assert None not in found
            assert sum(isinstance(one, Session) and one.cache is not None for one in found) < total * 0.03


def test_a_server_that_is_full_and_may_not_give_up_anything_refuses(start: Callable[..., ValkeyServer]):
    server = start("--maxmemory-policy", "noeviction")
    with opened(server.url) as store, valkey.Valkey.from_url(server.url) as client:
        commit(store, make_session())
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match=r"refused: .*maxmemory"):
            store.commit_many([Commit(make_session(revision=2), 1)])
        assert load(store) == make_session()
        client.config_set("maxmemory", 0)
        assert store.commit_many([Commit(make_session(revision=2), 1)]) == [True]


# Addresses and passwords


def test_a_password_is_used_and_a_wrong_one_is_not_repeated(start: Callable[..., ValkeyServer]):
    server = start("--requirepass", PASSWORD, *APP_USER)
    address = server.url.removeprefix("valkey://")
    for right in f"valkey://:{PASSWORD}@{address}", f"redis://app:pa%2Fss%231@{address}/0":
        with opened(right) as store:
            heard = threading.Semaphore(0)
            store.watch("a", heard.release)
            assert heard.acquire(timeout=2)
            commit(store, make_session())
            assert store.delete_many(["a"]) == [True]
    for wrong, why in (
        (f"valkey://:{PASSWORD}x@{address}", "invalid username-password pair"),
        (f"valkey://nobody:{PASSWORD}@{address}", "invalid username-password pair"),
        (f"valkey://{address}", "Authentication required"),
    ):
        with opened(wrong) as store, pytest.raises(StoreError, match=why) as caught:
            commit(store, make_session())
        assert PASSWORD not in f"{caught.value} {caught.value.__cause__} {store}"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "valkey://a..b:6379",
        f"valkey://user:{PASSWORD}/x@localhost:6379",
        f"valkey://user:{PASSWORD}@localhost:port",
        f"valkey://[::1:{PASSWORD}",
        f"valkey://:{PASSWORD}@localhost?retry_on_timeout=yes",
        f"valkey://:{PASSWORD}@localhost?socket_timeout=soon",
        f"valkey://:{PASSWORD}@localhost?ssl_ca_certs=file",
        f"valkeys://:{PASSWORD}@localhost?ssl_cert_reqs=perhaps",
        f"valkeys://:{PASSWORD}@localhost?ssl_unknown=1",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_a_password(url: str):
    with pytest.raises(StoreError, match="the address of the session store") as caught:
        ValkeyStore(url, LIMITS)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "store",
    [
        "valkey://cache",
        "valkeys://user:a%2Fb@cache:6380/3?ssl_ca_certs=/ca.pem",
        "redis://[::1]:1",
        "rediss://h",
        "lmdb",
    ],
)
def test_the_settings_take_stores_that_there_are(store: str):
    assert Settings(store=store).store == store


@pytest.mark.parametrize(
    "store",
    [
        "paper",
        "",
        "valkey://",
        "http://cache",
        f"valkey://u:{PASSWORD}/x@cache:1",
        "valkey://cache:99999",
        "valkey://c/x",
    ],
)
def test_the_settings_say_what_a_store_may_be_and_repeat_no_password(store: str):
    with pytest.raises(ValidationError) as caught:
        Settings(store=store)
    message = caught.value.errors()[0]["msg"]
    assert "lmdb, memory, or valkey://" in message
    assert PASSWORD not in message


def test_settings_that_are_printed_do_not_show_the_password():
    assert PASSWORD not in repr(Settings(store=f"valkey://:{PASSWORD}@cache"))


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost, and its key beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([openssl, *command.split(), *files], check=True, capture_output=True)
    return folder / "cert.pem"


@contextmanager
def behind_tls(port: int, certificate: Path) -> Iterator[int]:
    """Pass on what comes by TLS, since the server of the tests was built without; give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    ends: list[socket.socket] = []

    def relay(there: ssl.SSLSocket, here: socket.socket) -> None:
        with there, here, suppress(OSError):
            while True:
                ready = [there] if there.pending() else select.select([there, here], [], [])[0]
                for source, target in (there, here), (here, there):
                    if source in ready:
                        data = source.recv(65536)
                        if not data:
                            return
                        target.sendall(data)

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError):
                there = context.wrap_socket(plain, server_side=True)
                here = socket.create_connection(("127.0.0.1", port))
                ends.extend((there, here))
                threads.append(threading.Thread(target=relay, args=(there, here)))
                threads[-1].start()
            plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join()
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    for thread in threads[1:]:
        thread.join()


def test_a_store_behind_tls_is_read_written_and_watched(shared: ValkeyServer, client: valkey.Valkey, certificate: Path):
    with (
        behind_tls(shared.port, certificate) as port,
        opened(f"valkeys://localhost:{port}?ssl_ca_certs={certificate}") as store,
    ):
        heard = threading.Semaphore(0)
        store.watch("a", heard.release)
        assert heard.acquire(timeout=2)
        large = tuple(range(50_000))
        commit(store, make_session(moves=large))
        assert heard.acquire(timeout=2)
        assert load(store) == make_session(moves=large)


def test_a_certificate_that_is_not_trusted_or_of_another_host_is_refused(shared: ValkeyServer, certificate: Path):
    with behind_tls(shared.port, certificate) as port:
        for url, why in (
            (f"valkeys://localhost:{port}", "CERTIFICATE_VERIFY_FAILED"),
            (f"valkeys://127.0.0.1:{port}?ssl_ca_certs={certificate}", "CERTIFICATE_VERIFY_FAILED.*127.0.0.1"),
            (f"valkey://localhost:{port}", ""),
        ):
            with opened(url) as store, pytest.raises(StoreError, match=re.compile(why)):
                load(store)
        with opened(f"valkeys://127.0.0.1:{port}?ssl_cert_reqs=none") as store:
            assert answers(store)
