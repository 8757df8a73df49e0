"""What is answered without the layers of the application is answered as they would, and they still get what is odd."""

import asyncio
import gc
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.app import create_app
from service.engine import Engine
from service.keeper import Keeper
from service.metrics import requests_running, samples
from service.process.protocol import Protocol
from service.settings import Settings
from tests.keyed import entry, keys_json, new_keys
from tests.serving import KASPAROV_TOPALOV
from tests.test_plays import Held, Store

pytestmark = pytest.mark.anyio

MOVES = "/sessions/game/moves"
JSON = {"content-type": "application/json"}
# Says the same and is left to the layers.
SPELT_OUT = {"content-type": "application/json; charset=utf-8"}


@dataclass
class Reply:
    """An answer, without what differs each time."""

    status: int
    headers: dict[str, str]
    body: Any

    def what(self) -> tuple[int, dict[str, str], Any]:
        """Give what two answers to the same have in common."""
        timeless = {"date", "server-timing", "x-request-id"}
        assert timeless - {"server-timing"} <= self.headers.keys()
        told = {name: value for name, value in self.headers.items() if name not in timeless}
        return self.status, told | {"server-timing": str("server-timing" in self.headers)}, self.body


class Connection:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, path: str, body: Any, headers: dict[str, str] = JSON, version: str = "1.1") -> None:
        """Send a request; a body of bytes goes as it is."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"host": "here", "content-length": str(len(content))} | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self.writer.write(f"POST {path} HTTP/{version}\r\n{head}\r\n".encode() + content)

    async def read(self) -> Reply:
        """Read an answer."""
        async with asyncio.timeout(10):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = [line.split(": ", 1) for line in lines if line]
            headers = dict(pairs)
            assert len(headers) == len(pairs), f"a header is there twice: {pairs}"
            body = await self.reader.readexactly(int(headers["content-length"]))
        status = re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]*", first)
        assert status is not None
        return Reply(int(status[1]), headers, json.loads(body))

    async def ask(self, path: str, body: Any, headers: dict[str, str] = JSON, version: str = "1.1") -> Reply:
        """Send a request and read its answer."""
        self.send(path, body, headers, version)
        return await self.read()


@dataclass
class Service:
    """A service behind a server; ``passed`` are the addresses of what its layers were asked."""

    app: FastAPI
    address: tuple[str, int]
    server: uvicorn.Server
    passed: list[str] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    async def connect(self) -> Connection:
        """Open a connection."""
        self.connections.append(Connection(*await asyncio.open_connection(*self.address)))
        return self.connections[-1]

    async def connect_players(self, count: int) -> list[Connection]:
        """Open connections, and for each a session: s0, s1, …."""
        connections = [await self.connect() for _ in range(count)]
        for number, connection in enumerate(connections):
            await self.open(connection, f"s{number}")
        return connections

    async def open(self, connection: Connection, session: str = "game", **options: Any) -> None:
        """Open a session, which the layers are asked for."""
        reply = await connection.ask("/sessions", {"session": session, "model": "colours", **options})
        assert reply.status == 201
        self.passed.clear()


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[Service]:
    app = create_app(settings)
    service = Service(app, ("", 0), None)  # type: ignore[arg-type]

    def noting(behind: ASGIApp) -> ASGIApp:
        async def note(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                service.passed.append(scope["path"])
            await behind(scope, receive, send)

        return note

    app.put_in_front(noting)
    http: Any = partial(Protocol, app.state.shortcut)
    service.server = uvicorn.Server(uvicorn.Config(app, http=http, log_config=None, timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as own:
        service.address = own.getsockname()
        serving = asyncio.create_task(service.server.serve(sockets=[own]))
        await until(lambda: service.server.started)
        yield service
        service.server.should_exit = True
        await serving
        for connection in service.connections:
            connection.writer.close()
            with suppress(ConnectionError):
                await connection.writer.wait_closed()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    # Every step runs on the engine's thread, where a test can hold it.
    monkeypatch.setattr("service.app.brief", lambda _: 0)
    return store


@pytest.fixture
async def service(settings: Settings, store: Store) -> AsyncIterator[Service]:
    async with listening(settings) as service:
        yield service


@pytest.fixture
async def connection(service: Service) -> Connection:
    connection = await service.connect()
    await service.open(connection)
    return connection


def counted(status: str) -> float:
    """Give how many plays were counted with a status."""
    route = {"route": "/sessions/{session}/moves", "method": "POST", "status": status}
    found = samples("nextply_request_seconds")
    return sum(one.value for one in found if one.name.endswith("_count") and one.labels.items() >= route.items())


async def until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_move_is_answered_without_the_layers_and_as_they_would(service, connection):
    await service.open(connection, "same")
    for ply, body in enumerate(({"moves": ["red"]}, {"moves": ["blue"], "ply": 1}, {"moves": ["red"], "top_k": 2})):
        short = await connection.ask(MOVES, body)
        assert service.passed == []
        usual = await connection.ask("/sessions/same/moves", body, SPELT_OUT)
        assert service.passed == ["/sessions/same/moves"]
        service.passed.clear()
        usual.body["session"] = "game"
        assert short.what() == usual.what()
        assert short.body["ply"] == ply + 1


async def test_a_game_of_chess_is_the_same_either_way(service, connection):
    for session in "game", "same":
        await service.open(connection, f"chess-{session}", model="chess")
    for move in KASPAROV_TOPALOV[:20]:
        short = await connection.ask("/sessions/chess-game/moves", {"moves": [move]})
        usual = await connection.ask("/sessions/chess-same/moves", {"moves": [move]}, SPELT_OUT)
        assert short.body["next"] == usual.body["next"]
        assert short.body["surprisal"] == usual.body["surprisal"]
    assert service.passed == ["/sessions/chess-same/moves"] * 20


ODD: dict[str, tuple[str, Any, dict[str, str]]] = {
    "no such session": ("/sessions/nobody/moves", {"moves": ["red"]}, {}),
    "no session's name": ("/sessions/no%20body/moves", {"moves": ["red"]}, {}),
    "no such move": (MOVES, {"moves": ["mauve"]}, {}),
    "another ply": (MOVES, {"moves": ["red"], "ply": 7}, {}),
    "two moves": ("/sessions/nobody/moves", {"moves": ["red", "blue"]}, {}),
    "no move": (MOVES, {"moves": []}, {}),
    "no member": (MOVES, {}, {}),
    "a member too many": (MOVES, {"moves": ["red"], "model": "colours"}, {}),
    "no candidates": (MOVES, {"moves": ["red"], "top_k": 0}, {}),
    "no JSON": (MOVES, b'{"moves": ["red"]', {}),
    "nothing": (MOVES, b"", {}),
    "another type": (MOVES, {"moves": ["red"]}, {"content-type": "text/plain"}),
    "no number of milliseconds": (MOVES, {"moves": ["red"]}, {"request-timeout-ms": "soon"}),
    "a foreign page": (MOVES, {"moves": ["red"]}, {"origin": "http://elsewhere"}),
    "a long body": (MOVES, b'{"moves": ["mauve"]}' + b" " * 5000, {}),
}


@pytest.mark.parametrize(("path", "body", "headers"), ODD.values(), ids=ODD)
async def test_what_is_odd_is_left_to_the_layers(service, connection, store, path, body, headers):
    store.kept.clear()
    odd = await connection.ask(path, body, JSON | headers)
    asked = [path.replace("%20", " ")]
    assert service.passed == asked
    usual = await connection.ask(path, body, SPELT_OUT | headers)
    assert service.passed == asked * 2
    assert odd.what() == usual.what()
    assert 400 <= odd.status < 500
    assert store.kept == []


async def test_a_question_mark_or_another_method_is_left_to_the_layers(service, connection):
    assert (await connection.ask(f"{MOVES}?verbose=1", {"moves": ["red"]})).body["ply"] == 1
    assert service.passed == [MOVES]
    connection.writer.write(f"GET {MOVES} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
    assert (await connection.read()).status == 405
    assert service.passed == [MOVES] * 2


async def test_a_body_in_chunks_or_announced_is_left_to_the_layers(service, connection):
    head = f"POST {MOVES} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
    connection.writer.write(f"{head}transfer-encoding: chunked\r\n\r\n12\r\n".encode() + b'{"moves": ["red"]}')
    connection.writer.write(b"\r\n0\r\n\r\n")
    assert (await connection.read()).body["ply"] == 1
    connection.writer.write(f"{head}content-length: 18\r\nexpect: 100-continue\r\n\r\n".encode())
    assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.writer.write(b'{"moves": ["red"]}')
    assert (await connection.read()).body["ply"] == 2
    assert service.passed == [MOVES] * 2


async def test_a_body_that_comes_late_is_waited_for_by_the_layers_and_not_for_ever(settings, store):
    async with listening(settings.model_copy(update={"request_timeout_ms": 200})) as service:
        connection = await service.connect()
        await service.open(connection)
        for late in b'{"moves": ["red"]}', b"":
            connection.send(MOVES, b"", JSON | {"content-length": "18"})
            await until(lambda: service.passed)
            connection.writer.write(late)
            reply = await connection.read()
            assert (reply.status, reply.headers.get("connection")) == ((200, None) if late else (408, "close"))
            service.passed.clear()


async def test_requests_sent_ahead_are_answered_in_their_order(service, connection):
    for ply in range(40):
        connection.send(MOVES, {"moves": ["red"], "ply": ply})
    replies = [await connection.read() for _ in range(40)]
    assert [reply.body["ply"] for reply in replies] == list(range(1, 41))
    assert (await connection.ask(MOVES, {"moves": ["red"]})).body["ply"] == 41


@pytest.mark.parametrize(("version", "headers"), [("1.1", {"connection": "close"}), ("1.0", {})])
async def test_a_connection_that_is_to_be_closed_is_closed_behind_the_answer(service, connection, version, headers):
    reply = await connection.ask(MOVES, {"moves": ["red"]}, JSON | headers, version)
    assert (reply.body["ply"], reply.headers["connection"]) == (1, "close")
    assert await connection.reader.read() == b""
    assert service.passed == []


async def test_the_id_and_the_times_of_a_request_are_told(connection):
    reply = await connection.ask(MOVES, {"moves": ["red"]}, JSON | {"x-request-id": "mine"})
    assert reply.headers["x-request-id"] == "mine"
    assert re.fullmatch(r"queue;dur=[\d.]+, model;dur=[\d.]+, store;dur=[\d.]+", reply.headers["server-timing"])


async def test_a_request_is_counted_once(connection):
    before, running = counted("2xx"), requests_running.value
    for _ in range(3):
        await connection.ask(MOVES, {"moves": ["red"]})
    assert counted("2xx") == before + 3
    refused = counted("4xx")
    await connection.ask(MOVES, {"moves": ["mauve"]})
    assert counted("4xx") == refused + 1
    assert requests_running.value == running


async def test_a_line_is_logged_where_the_settings_say_so(settings, store, caplog):
    caplog.set_level("INFO", "nextply.access")
    async with listening(settings.model_copy(update={"access_log": True})) as service:
        connection = await service.connect()
        await service.open(connection)
        caplog.clear()
        await connection.ask(MOVES, {"moves": ["red"]})
        assert service.passed == []
    lines = [record.getMessage() for record in caplog.records if record.name == "nextply.access"]
    assert [re.sub(r"[\d.]+ ms", "", line) for line in lines] == [f"POST {MOVES} 200 in "]


# What becomes of a request that is not through


async def test_a_client_that_leaves_has_its_move_given_up(service, connection, store, monkeypatch):
    held, before = Held(monkeypatch), counted("none")
    store.kept.clear()
    held.go.clear()
    leaver = await service.connect()
    leaver.send(MOVES, {"moves": ["red"]})
    await asyncio.to_thread(held.begun.acquire)
    # Beyond the moment from which on the request is looked after.
    await asyncio.sleep(0.15)
    leaver.writer.close()
    await until(lambda: counted("none") == before + 1)
    held.go.set()
    assert (await connection.ask(MOVES, {"moves": ["blue"], "ply": 0})).body["ply"] == 1
    assert store.kept == [1]
    assert requests_running.value == 0


async def test_a_client_that_leaves_early_is_not_answered_and_hurts_nobody(service, connection, monkeypatch):
    held = Held(monkeypatch)
    await service.open(connection, "other")
    held.go.clear()
    leaver = await service.connect()
    leaver.send(MOVES, {"moves": ["red"]})
    connection.send("/sessions/other/moves", {"moves": ["red"]})
    await asyncio.to_thread(held.begun.acquire)
    leaver.writer.transport.abort()
    await until(lambda: len(service.server.server_state.connections) == 1)
    held.go.set()
    assert (await connection.read()).body["ply"] == 1
    assert requests_running.value == 0
    assert not service.server.server_state.tasks


async def test_a_client_that_left_early_keeps_nobody_else_from_being_looked_after(service, connection, monkeypatch):
    held, before = Held(monkeypatch), counted("none")
    await service.open(connection, "other")
    held.go.clear()
    leaver = await service.connect()
    leaver.send(MOVES, {"moves": ["red"]})
    await asyncio.to_thread(held.begun.acquire)
    leaver.writer.transport.abort()
    await until(lambda: counted("none") == before + 1)
    reply = await connection.ask("/sessions/other/moves", {"moves": ["red"]}, JSON | {"request-timeout-ms": "180"})
    assert (reply.status, reply.body["code"]) == (503, "deadline_passed")
    held.go.set()


@pytest.mark.parametrize("milliseconds", [30, 180])
async def test_a_deadline_ends_the_wait_and_nothing_is_applied(service, connection, monkeypatch, milliseconds):
    held = Held(monkeypatch)
    held.go.clear()
    reply = await connection.ask(MOVES, {"moves": ["red"]}, JSON | {"request-timeout-ms": str(milliseconds)})
    assert (reply.status, reply.body["code"], reply.body["timeout_ms"]) == (503, "deadline_passed", milliseconds)
    assert reply.headers["cache-control"] == "no-store"
    held.go.set()
    assert (await connection.ask(MOVES, {"moves": ["red"], "ply": 0})).body["ply"] == 1
    assert service.passed == []


async def test_a_deadline_that_is_far_off_at_the_first_look_is_kept_all_the_same(connection, monkeypatch):
    monkeypatch.setattr("service.admission.AGAIN", 0.1)
    monkeypatch.setattr("service.shortcut._SOON", 0.2)
    held = Held(monkeypatch)
    held.go.clear()
    reply = await connection.ask(MOVES, {"moves": ["red"]}, JSON | {"request-timeout-ms": "600"})
    assert (reply.status, reply.body["timeout_ms"]) == (503, 600)
    held.go.set()


async def test_a_commit_is_not_cut_off_by_the_deadline(connection, monkeypatch):
    commit_all = Keeper.commit_all

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(0.3)
        return await commit_all(*arguments)

    monkeypatch.setattr(Keeper, "commit_all", slow)
    reply = await connection.ask(MOVES, {"moves": ["red"]}, JSON | {"request-timeout-ms": "180"})
    assert reply.body["ply"] == 1


async def test_a_deadline_that_passes_behind_the_answer_is_over(connection, monkeypatch):
    # The request is looked after long before its deadline, though that is near.
    monkeypatch.setattr("service.admission._LATE", 0.005)
    held, running = Held(monkeypatch), requests_running.value
    held.go.clear()
    connection.send(MOVES, {"moves": ["red"]}, JSON | {"request-timeout-ms": "100"})
    await asyncio.sleep(0.03)
    held.go.set()
    assert (await connection.read()).body["ply"] == 1
    await asyncio.sleep(0.15)
    assert (await connection.ask(MOVES, {"moves": ["red"]})).body["ply"] == 2
    assert requests_running.value == running


@pytest.mark.parametrize("in_time", [True, False])
async def test_what_runs_when_a_stop_comes_is_answered_if_it_is_through_in_time(settings, store, monkeypatch, in_time):
    held = Held(monkeypatch)
    async with listening(settings) as service:
        connection = await service.connect()
        await service.open(connection)
        held.go.clear()
        connection.send(MOVES, {"moves": ["red"]})
        await asyncio.to_thread(held.begun.acquire)
        service.server.should_exit = True
        if in_time:
            await asyncio.sleep(0.3)
            held.go.set()
        reply = await connection.read()
        held.go.set()
    assert (reply.status, reply.body.get("code")) == ((200, None) if in_time else (503, "draining"))
    assert reply.headers["connection"] == "close"


async def test_a_store_that_fails_is_told_and_not_asked_again(connection, service, store):
    store.broken = True
    reply = await connection.ask(MOVES, {"moves": ["red"]})
    assert (reply.status, reply.body["code"]) == (503, "store_failed")
    assert service.passed == []
    store.broken = False
    assert (await connection.ask(MOVES, {"moves": ["red"], "ply": 0})).body["ply"] == 1


async def test_an_engine_that_fails_is_told(connection, service, monkeypatch, caplog):
    def broken(*_: Any) -> Any:
        raise RuntimeError("a secret of the engine")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", broken)
        reply = await connection.ask(MOVES, {"moves": ["red"]})
    assert (reply.status, reply.body["code"]) == (503, "engine_failed")
    assert "secret" in caplog.text
    assert (await connection.ask(MOVES, {"moves": ["red"], "ply": 0})).body["ply"] == 1


async def test_what_nobody_thought_of_is_a_500_without_its_story(connection, service, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr("service.answers.played", lambda *_: 1 / 0)
        reply = await connection.ask(MOVES, {"moves": ["red"]})
    assert (reply.status, reply.body["code"]) == (500, "internal_error")
    assert "division" not in json.dumps(reply.body)
    assert "division by zero" in caplog.text


async def test_too_many_requests_are_refused_and_leave_no_trace(settings, store, monkeypatch):
    held = Held(monkeypatch)
    async with listening(settings.model_copy(update={"max_requests": 2})) as service:
        connections = await service.connect_players(5)
        held.go.clear()
        for number, connection in enumerate(connections):
            connection.send(f"/sessions/s{number}/moves", {"moves": ["red"]})
        for connection in connections[2:]:
            refused = await connection.read()
            assert (refused.status, refused.body["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        assert service.passed == []
        held.go.set()
        assert [(await connection.read()).status for connection in connections[:2]] == [200, 200]
        assert [(await one.ask("/sessions/s4/moves", {"moves": ["red"]})).status for one in connections] == [200] * 5


async def test_a_queue_that_is_full_is_told(settings, store, monkeypatch):
    held = Held(monkeypatch)
    async with listening(settings.model_copy(update={"max_queue": 2})) as service:
        connections = await service.connect_players(4)
        held.go.clear()
        connections[0].send("/sessions/s0/moves", {"moves": ["red"]})
        await asyncio.to_thread(held.begun.acquire)
        connections[1].send("/sessions/s1/moves", {"moves": ["red"]})
        await asyncio.sleep(0.05)
        refused = await connections[2].ask("/sessions/s2/moves", {"moves": ["red"]})
        assert (refused.status, refused.body["code"]) == (429, "overloaded")
        held.go.set()
        assert [(await connection.read()).status for connection in connections[:2]] == [200, 200]
    assert requests_running.value == 0


async def test_a_client_that_does_not_read_is_not_answered_ahead(service, connection):
    (protocol,) = service.server.server_state.connections
    protocol.flow.pause_writing()
    connection.send(MOVES, {"moves": ["red"]})
    await until(lambda: service.passed)
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.1):
            await connection.reader.read(1)
    protocol.flow.resume_writing()
    assert (await connection.read()).body["ply"] == 1


async def test_answers_leave_nothing_to_the_collector(connection):
    for _ in range(5):
        await connection.ask(MOVES, {"moves": ["red"]})
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            await connection.ask(MOVES, {"moves": ["red"]})
        assert gc.collect() < 50
    finally:
        gc.enable()


# Keys


async def test_a_key_opens_the_shortcut_to_the_sessions_of_its_tenant_alone(settings, store):
    ours, theirs, slow, blind = new_keys("ours", "theirs", "slow", "blind").values()
    entries = [
        entry(ours, "us", "sessions"),
        entry(theirs, "them", "sessions"),
        entry(slow, "us", "sessions", rate=0.001, burst=1),
        entry(blind, "us", "predict"),
    ]
    async with listening(settings.model_copy(update={"keys": keys_json(*entries)})) as service:
        connection = await service.connect()
        headers = {key: JSON | {"authorization": f"Bearer {key}"} for key in (ours, theirs, slow, blind)}
        created = await connection.ask("/sessions", {"session": "game", "model": "colours"}, headers[ours])
        assert created.status == 201
        service.passed.clear()

        async def ask(key: str) -> tuple[int, bool]:
            reply = await connection.ask(MOVES, {"moves": ["red"]}, headers.get(key, JSON))
            passed = bool(service.passed)
            service.passed.clear()
            return reply.status, passed

        assert await ask(ours) == (200, False)
        assert await ask(theirs) == (404, True)
        assert await ask(blind) == (403, True)
        assert await ask("") == (401, True)
        # A rate is held by the layer, which takes one for each request.
        assert [await ask(slow) for _ in range(2)] == [(200, True), (429, True)]


async def test_a_client_library_finds_no_difference(service, connection):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.address[1]}") as client:
        for ply in range(1, 4):
            answer = await client.post(MOVES, json={"moves": ["red"]})
            assert answer.json()["ply"] == ply
    assert service.passed == []
