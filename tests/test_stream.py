"""WebSockets: moves in, predictions out, in order, whatever the client does, and closed with a code that says why."""

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from model.games import load_game
from service.engine import Engine
from service.predictor import Predictor
from service.sessions import Commit, Limits, MemoryStore
from service.settings import Settings
from tests.serving import COLOURS, KASPAROV_TOPALOV, Process, random_game, running
from tests.streams import Wire, example, opened, our_tasks

pytestmark = pytest.mark.anyio

IN_WORK = 64
MAX_BODY = 100_000


@pytest.fixture(scope="module")
def process(artifacts: Path) -> Iterator[Process]:
    """A service for the tests that leave it as it was."""
    with Process(Settings(artifacts=artifacts, store="memory", max_body=MAX_BODY)) as process:
        yield process


@pytest.fixture(autouse=True)
def engine_on_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every step on the engine's thread, where a test can hold it."""
    monkeypatch.setattr("service.app.brief", lambda _: 0)


@pytest.fixture
async def http(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=process.url) as client:
        yield client


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """A service without a network."""
    async with running(settings.model_copy(update={"store": "memory"})) as app:
        yield app


class Talk:
    """A connection of a real client."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), 20))

    async def ask(self, **message: Any) -> Any:
        await self.say(**message)
        return await self.hear()

    async def closed(self) -> tuple[int, str]:
        """Wait until the service closes; give code and reason."""
        _, how = await self.heard_until_closed()
        return how

    async def heard_until_closed(self) -> tuple[list[Any], tuple[int, str]]:
        """Give all answers until the service closes, then code and reason."""
        answers = []
        try:
            while True:
                answers.append(await self.hear())
        except ConnectionClosed:
            return answers, (self.socket.close_code or 0, self.socket.close_reason or "")


@asynccontextmanager
async def talking(process: Process, path: str = "/stream") -> AsyncIterator[Talk]:
    url = process.url.replace("http", "ws") + path
    async with connect(url, proxy=None, compression=None) as socket:
        yield Talk(socket)


async def open_session(http: httpx.AsyncClient, id_: str, **body: Any) -> str:
    (await http.post("/sessions", json={"session": id_, **body})).raise_for_status()
    return id_


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "session"}


# Games


@pytest.mark.parametrize("path", ["/stream", "/sessions/{}/stream"])
async def test_a_whole_game_over_a_socket_is_to_the_bit_that_over_http(
    process: Process, http: httpx.AsyncClient, path: str
):
    over_http = await open_session(http, f"http-{len(path)}")
    over_socket = await open_session(http, f"socket-{len(path)}")
    named = {"session": over_socket} if path == "/stream" else {}
    async with talking(process, path.format(over_socket)) as talk:
        for ply, move in enumerate(KASPAROV_TOPALOV):
            body = {"moves": [move], "ply": ply, "top_k": 100}
            answer = await talk.ask(**body, **named, tag=ply)
            assert answer.pop("tag") == ply
            assert answer["session"] == over_socket
            expected = (await http.post(f"/sessions/{over_http}/moves", json=body)).json()
            assert without_id(answer) == without_id(expected)
        seen = await talk.ask(do="get", top_k=100, **named)
    assert seen == (await http.get(f"/sessions/{over_socket}?top_k=100")).json()
    assert without_id(seen) == without_id((await http.get(f"/sessions/{over_http}?top_k=100")).json())


async def test_a_game_sent_without_waiting_is_played_and_answered_in_order(process: Process, http: httpx.AsyncClient):
    await open_session(http, "pipelined")
    async with talking(process, "/sessions/pipelined/stream") as talk:
        for move in KASPAROV_TOPALOV:
            await talk.say(moves=[move], tag=move)
        answers = [await talk.hear() for _ in KASPAROV_TOPALOV]
    assert [answer["tag"] for answer in answers] == KASPAROV_TOPALOV
    assert [answer["ply"] for answer in answers] == list(range(1, 88))
    body = {"sequences": [KASPAROV_TOPALOV], "score": True, "each_ply": True}
    (fresh,) = (await http.post("/predict", json=body)).json()["predictions"]
    assert [answer["surprisal"][0] for answer in answers] == fresh["surprisal"]
    assert [answer["next"] for answer in answers] == [ply["next"] for ply in fresh["plies"][1:]]


async def test_games_mixed_over_one_connection_do_not_disturb_each_other(process: Process, http: httpx.AsyncClient):
    games = {f"mixed-{seed}": random_game(load_game({"name": "chess"}), seed, 20) for seed in range(8)}
    rest = {await open_session(http, id_): list(enumerate(moves)) for id_, moves in games.items()}
    draw = random.Random(0)
    heard: dict[str, list[Any]] = {id_: [] for id_ in games}
    async with talking(process) as talk:
        while any(rest.values()):
            id_ = draw.choice([id_ for id_, moves in rest.items() if moves])
            ply, move = rest[id_].pop(0)
            await talk.say(session=id_, moves=[move], ply=ply, tag=ply)
        for _ in range(sum(map(len, games.values()))):
            answer = await talk.hear()
            heard[answer["session"]].append(answer)
    for id_, moves in games.items():
        assert [answer["tag"] for answer in heard[id_]] == list(range(len(moves)))
        body = {"sequences": [moves], "score": True}
        (fresh,) = (await http.post("/predict", json=body)).json()["predictions"]
        assert [answer["surprisal"][0] for answer in heard[id_]] == fresh["surprisal"]
        assert heard[id_][-1]["next"] == fresh["next"]


async def test_a_long_message_of_one_session_does_not_hold_up_another(process: Process, http: httpx.AsyncClient):
    moves = random_game(load_game({"name": "tokens"}, COLOURS), 0, 1500)
    for id_ in ("long", "short"):
        await open_session(http, id_, model="colours")
    async with talking(process) as talk:
        await talk.say(session="long", moves=moves, tag="first")
        await talk.say(session="long", do="get", tag="second")
        await talk.say(session="short", moves=["red"], tag="third")
        assert [(await talk.hear())["tag"] for _ in range(3)] == ["third", "first", "second"]


async def test_everything_that_can_be_done_keeps_its_place_in_the_line(process: Process, http: httpx.AsyncClient):
    await open_session(http, "all")
    async with talking(process, "/sessions/all/stream") as talk:
        await talk.say(moves=["e4", "e5", "Nf3"], session="all")
        await talk.say(do="peek", moves=["Nc6", "Bb5"], top_k=1)
        await talk.say(do="takeback", to_ply=2)
        await talk.say(do="play", moves=["Bc4"], ply=2)
        await talk.say(do="get", top_k=2)
        played, peeked, back, again, seen = [await talk.hear() for _ in range(5)]
    assert (played["ply"], len(played["surprisal"])) == (3, 3)
    assert (peeked["ply"], len(peeked["surprisal"]), len(peeked["next"])) == (5, 2, 1)
    assert (back["ply"], again["ply"]) == (2, 3)
    assert seen["moves"] == ["e2e4", "e7e5", "f1c4"]
    assert seen["next"] == again["next"][:2]


# What is wrong with a message is answered, and hurts nothing else


async def test_a_bad_message_is_answered_as_over_http_and_the_connection_goes_on(
    process: Process, http: httpx.AsyncClient
):
    await open_session(http, "sturdy", moves=["e4"])
    await open_session(http, "sturdy-too", moves=["e4"])
    async with talking(process, "/sessions/sturdy/stream") as talk:
        for number, body in enumerate(
            [
                {"moves": ["e5", "Ke7", "O-O"]},
                {"moves": ["e5"], "ply": 7},
                {"moves": []},
                {"moves": ["e5"], "top_k": 0},
                {"moves": ["e5"], "top_k": "5"},
                {"moves": ["e5"], "colour": "red"},
                {"moves": ["a6"] * 2001},
            ]
        ):
            answer = await talk.ask(**body, tag=number)
            expected = (await http.post("/sessions/sturdy-too/moves", json=body)).json()
            for problem in (answer["problem"], expected):
                problem["detail"] = problem["detail"].removeprefix("body.").replace("sturdy-too", "sturdy")
                for error in problem.get("errors", ()):
                    error["where"] = error["where"].removeprefix("body.")
            # A message is measured before its turn comes, so without the moves that were played.
            expected["detail"] = expected["detail"].replace("2002 moves", "2001 moves")
            assert answer == {"session": "sturdy", "tag": number, "problem": expected}
        assert (await talk.ask(moves=["e5"], ply=1))["ply"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "7",
        "null",
        "{}",
        '{"do":"hop"}',
        '{"do":["play"],"moves":["e4"]}',
        '{"do":"get","moves":["e4"]}',
        '{"do":"takeback"}',
        '{"moves":["e4"],"tag":1.5}',
        '{"moves":["e4"],"tag":true}',
        '{"moves":["e4"],"tag":9223372036854775808}',
        '{"moves":["e4"],"session":"another"}',
        '{"moves":["e4"],"session":"no such name"}',
        json.dumps({"ping": "x" * 2000}),
        json.dumps({"ping": 10**30}),
        json.dumps({"ping": float("nan")}),
        json.dumps({"ping": 1, "moves": ["e4"]}),
    ],
)
async def test_json_that_is_no_message_is_described_and_the_connection_goes_on(
    process: Process, http: httpx.AsyncClient, text: str
):
    await http.post("/sessions", json={"session": "calm"})
    async with talking(process, "/sessions/calm/stream") as talk:
        await talk.socket.send(text)
        answer = await talk.hear()
        assert answer.keys() == {"session", "problem"}
        assert (answer["problem"]["status"], answer["problem"]["code"]) == (422, "invalid_request")
        assert (await talk.ask(do="get"))["ply"] == 0


async def test_a_message_without_a_session_or_with_an_unknown_one_hurts_no_other(
    process: Process, http: httpx.AsyncClient
):
    await open_session(http, "known")
    async with talking(process) as talk:
        await talk.say(moves=["e4"], tag="nameless")
        await talk.say(moves=["e4"], session="unknown", tag="unknown")
        await talk.say(moves="e4", session="known", tag="malformed")
        await talk.say(moves=["e4"], session="known", tag="good")
        answers = {answer["tag"]: answer for answer in [await talk.hear() for _ in range(4)]}
        assert await talk.ask(ping=0) == {"pong": 0}
    assert answers["nameless"]["problem"]["code"] == "invalid_request"
    assert "session" not in answers["nameless"]
    assert (answers["unknown"]["session"], answers["unknown"]["problem"]["code"]) == ("unknown", "unknown_session")
    assert (answers["malformed"]["session"], answers["malformed"]["problem"]["code"]) == ("known", "invalid_request")
    assert (answers["good"]["session"], answers["good"]["ply"]) == ("known", 1)


@pytest.mark.parametrize("ping", [None, 0, 2.5, "x", True, [1, {"a": [None]}], 2**63 - 1, "é" * 400])
async def test_a_ping_is_answered_with_what_it_holds(process: Process, ping: Any):
    async with talking(process) as talk:
        assert await talk.ask(ping=ping) == {"pong": ping}


async def test_a_message_that_is_not_through_in_time_is_refused_and_nothing_of_it_applied(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    settings = settings.model_copy(update={"store": "memory", "request_timeout_ms": 1000})
    async with running(settings) as app, client_of(app) as http:
        await open_session(http, "late")
        async with opened(Wire(app, "/sessions/late/stream")) as wire:
            held = Held()
            with monkeypatch.context() as patch:
                patch.setattr(Engine, "step", held.by(Engine.step))
                for move in ("e4", "e5"):
                    wire.say(moves=[move], tag=move)
                answers = [await wire.hear() for _ in range(2)]
                held.release()
            assert [answer["tag"] for answer in answers] == ["e4", "e5"]
            assert [answer["problem"]["code"] for answer in answers] == ["deadline_passed"] * 2
            wire.say(do="get")
            assert (await wire.hear())["ply"] == 0


# Why a connection is closed


@pytest.mark.parametrize("id_", ["nobody", "no%20name", "x" * 300])
async def test_a_stream_of_a_session_that_is_not_there_is_closed_with_4404(process: Process, id_: str):
    async with talking(process, f"/sessions/{id_}/stream") as talk:
        code, reason = await talk.closed()
    assert code == 4404
    assert "session" in reason
    assert len(reason.encode()) <= 123


async def test_a_session_that_is_deleted_while_its_stream_is_open_gets_a_problem_and_4404(
    process: Process, http: httpx.AsyncClient
):
    await open_session(http, "brief")
    async with talking(process, "/sessions/brief/stream") as talk, talking(process) as other:
        assert (await talk.ask(moves=["e4"]))["ply"] == 1
        await http.delete("/sessions/brief")
        answer = await talk.ask(moves=["e5"], tag="late")
        assert (answer["tag"], answer["problem"]["code"]) == ("late", "unknown_session")
        assert (await talk.closed())[0] == 4404
        assert (await other.ask(moves=["e5"], session="brief"))["problem"]["code"] == "unknown_session"
        assert await other.ask(ping="still here") == {"pong": "still here"}


async def test_a_session_that_expired_is_said_to_have_expired(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    store = MemoryStore(Limits(1000, 1000, 100, 100))
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    async with running(settings) as app, client_of(app) as http:
        await open_session(http, "old")
        async with opened(Wire(app, "/sessions/old/stream")) as wire:
            wire.say(do="get")
            assert (await wire.hear())["ply"] == 0
            store.forget(int(time.time() * 1000) + 1001)
            wire.say(do="get")
            assert (await wire.hear())["problem"]["code"] == "session_expired"
            code, reason = await wire.hear()
        async with opened(Wire(app, "/sessions/old/stream")) as wire:
            assert await wire.hear() == (code, reason)
    assert code == 4404
    assert "expired" in reason


@pytest.mark.parametrize("text", ["", "{", "hello", b"\x00", '{"moves":["e4"]}x', "[" * 100_000, "NaN!"])
async def test_what_is_no_json_closes_with_1007_once_what_came_before_is_answered(
    process: Process, http: httpx.AsyncClient, text: str | bytes
):
    await http.post("/sessions", json={"session": "json"})
    async with talking(process) as talk:
        for tag in range(10):
            await talk.say(do="get", session="json", tag=tag)
        await talk.socket.send(text[: MAX_BODY // 2])
        await talk.say(do="get", session="json", tag="too late")
        assert [(await talk.hear())["tag"] for _ in range(10)] == list(range(10))
        code, reason = await talk.closed()
    assert code == 1007
    assert "JSON" in reason


async def test_a_message_that_is_too_large_closes_with_1009(process: Process):
    async with talking(process) as talk:
        await talk.say(ping="x" * MAX_BODY)
        assert (await talk.closed())[0] == 1009


async def test_beyond_the_most_streams_a_connection_is_closed_with_1013(settings: Settings):
    async with (
        running(settings.model_copy(update={"store": "memory", "max_streams": 2})) as app,
        opened(Wire(app, "/stream")) as one,
        opened(Wire(app, "/stream")) as other,
    ):
        for wire in (one, other):
            wire.say(ping=1)
            assert await wire.hear() == {"pong": 1}
        code, reason = await Wire(app, "/stream").hear()
        assert (code, "2 streams are open" in reason) == (1013, True)
        await other.hang_up()
        async with opened(Wire(app, "/stream")) as third:
            third.say(ping=3)
            assert await third.hear() == {"pong": 3}


async def test_a_stream_that_cannot_be_opened_since_the_store_is_away_is_closed_with_1013(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(MemoryStore, "load_many", fail)
    async with running(settings.model_copy(update={"store": "memory"})) as app:
        code, reason = await Wire(app, "/sessions/any/stream").hear()
    assert code == 1013
    assert "store" in reason


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("out of order")


async def test_a_bug_of_ours_is_logged_and_closes_with_1011_and_tells_nothing_of_the_inside(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(Predictor, "peek", fail)
    async with client_of(app) as http:
        await open_session(http, "game")
    async with opened(Wire(app, "/stream")) as wire:
        wire.say(do="get", session="game", tag=1)
        wire.say(do="peek", moves=["e4"], session="game", tag=2)
        assert (await wire.hear())["tag"] == 1
        answer = await wire.hear()
        assert (answer["tag"], answer["problem"]["status"], answer["problem"]["code"]) == (2, 500, "internal_error")
        code, reason = await wire.hear()
    assert code == 1011
    assert "out of order" in caplog.text
    assert "out of order" not in reason + str(answer)


async def test_a_client_that_closes_is_answered_with_1000(process: Process):
    async with talking(process) as talk:
        assert await talk.ask(ping=1) == {"pong": 1}
        await talk.socket.close(1000, "enough")
        assert talk.socket.close_code == 1000


async def test_when_the_service_stops_what_was_read_is_answered_and_then_comes_1012(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
):
    async with client_of(app) as http:
        await open_session(http, "game")
        held = Held()
        monkeypatch.setattr(Engine, "step", held.by(Engine.step))
        wire = Wire(app, "/sessions/game/stream")
        for tag, move in enumerate(("e4", "e5", "Nf3")):
            wire.say(moves=[move], tag=tag)
        await held.reached()
        app.state.stopping.begin()
        await asyncio.sleep(0.01)
        wire.say(moves=["Nc6"], tag="too late")
        held.release()
        assert [(await wire.hear())["tag"] for _ in range(3)] == [0, 1, 2]
        assert (await wire.hear())[0] == 1012
        await wire.hang_up()
        assert (await Wire(app, "/stream").hear())[0] == 1012
    assert our_tasks() == set()


# Clients that leave, clients that are slow


class Held:
    """Holds up a call until it is released."""

    def __init__(self) -> None:
        self._reached, self._free = threading.Event(), threading.Event()

    def by(self, call: Any) -> Any:
        def held(*arguments: Any) -> Any:
            self._reached.set()
            assert self._free.wait(20)
            return call(*arguments)

        return held

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, 10)

    def release(self) -> None:
        self._free.set()


async def test_a_client_that_leaves_frees_its_work_at_once(app: FastAPI, monkeypatch: pytest.MonkeyPatch):
    async with client_of(app) as http:
        for number in range(8):
            await open_session(http, f"left-{number}")
        held = Held()
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "step", held.by(Engine.step))
            wire = Wire(app, "/stream")
            for number in range(32):
                wire.say(session=f"left-{number % 8}", moves=["e4"])
            await held.reached()
            await wire.hang_up()
            assert our_tasks() == set()
            held.release()
        sessions = [(await http.get(f"/sessions/left-{number}")).json() for number in range(8)]
    assert [session["ply"] for session in sessions] == [0] * 8


async def test_a_commit_that_has_begun_is_finished_for_a_client_that_leaves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    held = Held()

    class Slow(MemoryStore):
        quick = False

        def commit_many(self, commits: Sequence[Commit], waits: Any = None) -> list[bool]:
            if commits[0].expected is None:
                return super().commit_many(commits)
            return held.by(super().commit_many)(commits)

    monkeypatch.setattr("service.app.open_store", lambda _: Slow(Limits(10**6, 10**6, 100, 100)))
    # Only its opening was brief.
    monkeypatch.setattr("service.keeper.brief", lambda _: 0)
    async with running(settings) as app, client_of(app) as http:
        await open_session(http, "game")
        wire = Wire(app, "/sessions/game/stream")
        wire.say(moves=["e4"])
        wire.say(moves=["e5"])
        await held.reached()
        await wire.hang_up()
        held.release()
        played: list[str] = []
        async with asyncio.timeout(10):
            while not played:
                await asyncio.sleep(0.01)
                played = (await http.get("/sessions/game")).json()["moves"]
        assert played == ["e2e4"]


async def test_a_client_that_does_not_read_its_answers_is_not_read_from(app: FastAPI):
    async with client_of(app) as http:
        await open_session(http, "game")
    async with opened(Wire(app, "/stream")) as wire:
        wire.say(ping="first")
        assert await wire.hear() == {"pong": "first"}
        wire.readable.clear()
        for tag in range(300):
            wire.say(session="game", do="get", tag=tag)
        before = wire.taken
        await until_still(lambda: wire.taken)
        assert wire.taken - before <= IN_WORK
        wire.readable.set()
        assert [(await wire.hear())["tag"] for _ in range(300)] == list(range(300))


async def until_still(value: Any) -> None:
    seen = [None, value()]
    while seen[-2] != seen[-1]:
        await asyncio.sleep(0.1)
        seen.append(value())


async def test_the_service_stays_small_while_a_client_sends_and_does_not_read(artifacts: Path):
    with Process(Settings(artifacts=artifacts, store="memory")) as process:
        async with httpx.AsyncClient(base_url=process.url) as http, talking(process, "/stream") as talk:
            await open_session(http, "game", model="colours", moves=["red", "blue"] * 500)
            padding = " " * 50_000
            text = json.dumps({"session": "game", "do": "get"}) + padding

            async def send() -> None:
                for _ in range(1500):
                    await talk.socket.send(text)

            before = process.memory()
            sending = asyncio.create_task(send())
            await until_still(process.memory)
            assert not sending.done()
            assert process.memory() - before < 30 << 20
            assert [(await talk.hear())["ply"] for _ in range(1500)] == [1000] * 1500
            await sending


# A stop of a real service


async def test_every_move_that_a_stop_lets_through_was_answered(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data", fsync=False, drain_seconds=20)
    moves = random_game(load_game({"name": "tokens"}, COLOURS), 0, 1900)
    with Process(settings) as process:
        async with httpx.AsyncClient(base_url=process.url) as http:
            await open_session(http, "game", model="colours")
        async with talking(process, "/sessions/game/stream") as talk:

            async def send() -> None:
                for ply, move in enumerate(moves):
                    await talk.say(moves=[move], ply=ply)

            sending = asyncio.create_task(send())
            first = [await talk.hear() for _ in range(50)]
            process.terminate()
            then, closed = await talk.heard_until_closed()
            await asyncio.gather(sending, return_exceptions=True)
        _, written = await asyncio.to_thread(process.wait)
    assert closed == (1012, "the service is stopping; connect again")
    assert "Traceback" not in written
    with Process(settings) as process:
        async with httpx.AsyncClient(base_url=process.url) as http:
            stored = (await http.get("/sessions/game")).json()["moves"]
    assert [answer["ply"] for answer in first + then] == list(range(1, len(stored) + 1))
    assert 50 <= len(stored) < len(moves)
    assert stored == moves[: len(stored)]


def test_the_example_of_a_socket_runs_as_it_is_written(
    process: Process, artifacts: Path, capsys: pytest.CaptureFixture[str]
):
    httpx.post(f"{process.url}/sessions", json={"session": "board-7"}).raise_for_status()
    exec(example("websockets").replace("ws://localhost:8000", process.url.replace("http", "ws")), {})
    assert [line.split(" then ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "e4 at ply 1",
        "e5 at ply 2",
        "Nf3 at ply 3",
    ]
