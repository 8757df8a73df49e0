"""Server-sent events: whoever plays, and wherever, an onlooker ends with the session's moves."""

import asyncio
import random
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from model.games import TokenGame
from service.distribution import Distribution
from service.sessions import Commit, Found, Limits, MemoryStore, Session
from service.settings import Settings
from service.streams.view import View
from tests.serving import COLOURS, KASPAROV_TOPALOV, Process, running, write_artifact
from tests.streams import Event, Onlooker, example, opened, our_tasks, read_events, replay
from tests.valkey_server import ValkeyServer

pytestmark = pytest.mark.anyio


class Store(MemoryStore):
    """A store in memory that counts what is asked of it, and can be broken, or say nothing of writes."""

    broken = silent = False

    def __init__(self) -> None:
        super().__init__(Limits(10**6, 10**6, 100, 100))
        self.loads: list[str] = []
        self.commits = self.watching = 0
        self.lock = threading.RLock()

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        if self.broken:
            raise OSError("out of order")
        self.loads += ids
        with self.lock:
            return super().load_many(ids)

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        return [held and not self.broken for held in super().has_many(sessions)]

    def commit_many(self, commits: Sequence[Commit], waits: Any = None) -> list[bool]:
        self.commits += len(commits)
        return super().commit_many(commits)

    def watch(self, id_: str, changed: Any) -> Any:
        self.watching += 1
        leave = super().watch(id_, (lambda: None) if self.silent else changed)

        def left() -> None:
            self.watching -= 1
            leave()

        return left

    def lose_states(self) -> None:
        """Let all sessions lose what can be rebuilt."""
        self._records = {id_: (log, None) for id_, (log, _) in self._records.items()}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    return store


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


@pytest.fixture
async def app(settings: Settings, store: Store) -> AsyncIterator[FastAPI]:
    async with running(settings) as app:
        yield app
    assert our_tasks() == set()
    assert store.watching == 0


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def ok(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    response = await http.request(method, path, json=body)
    assert response.is_success, response.text
    return response.json() if response.content else None


async def play(http: httpx.AsyncClient, moves: list[str], id_: str = "game") -> Any:
    return await ok(http, "POST", f"/sessions/{id_}/moves", {"moves": moves, "top_k": 100})


# What is told


async def test_an_onlooker_is_told_of_the_session_and_then_of_every_change(app: FastAPI, http: httpx.AsyncClient):
    await ok(http, "POST", "/sessions", {"session": "game", "moves": ["e4"], "context": {"white_elo": 1500}})
    async with opened(Onlooker(app, "game")) as onlooker:
        whole = await ok(http, "GET", "/sessions/game?top_k=100")
        assert await onlooker.next() == Event("session", whole, "1")
        answer = await play(http, ["e5", "Nf3"])
        assert await onlooker.next() == Event("moves", answer | {"moves": ["e7e5", "g1f3"]}, "3")
        answer = await ok(http, "POST", "/sessions/game/takeback", {"to_ply": 2, "top_k": 100})
        assert await onlooker.next() == Event("takeback", answer | {"moves": [], "surprisal": []}, "2")
        assert onlooker.moves == ["e2e4", "e7e5"]
        await http.delete("/sessions/game")
        assert await onlooker.next() == Event("deleted", {"session": "game"})
        assert await onlooker.next() is None
        assert onlooker.text.startswith("retry: ")


async def test_top_k_says_how_many_moves_are_foretold(app: FastAPI, http: httpx.AsyncClient):
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game", 2)) as two, opened(Onlooker(app, "game", 7)) as seven:
        for expected in (["e2e4"], ["e2e4", "e7e5"]):
            for onlooker, count in (two, 2), (seven, 7):
                event = await onlooker.next()
                assert len(event.data["next"]) == count
            answer = await play(http, expected[-1:])
        assert [(await onlooker.next()).data["next"] for onlooker in (two, seven)] == [
            answer["next"][:2],
            answer["next"][:7],
        ]


async def test_a_whole_game_that_the_store_tells_of_adds_up_to_the_session(
    app: FastAPI, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.streams.onlookers._BEAT", 1000)
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        surprisal = []
        for move in KASPAROV_TOPALOV:
            answer = await play(http, [move])
            event = await onlooker.next()
            assert (event.kind, event.data["ply"], event.data["next"]) == ("moves", answer["ply"], answer["next"])
            surprisal += event.data["surprisal"]
        session = await ok(http, "GET", "/sessions/game")
        assert (onlooker.moves, surprisal) == (session["moves"], session["surprisal"])


async def test_a_session_that_expires_is_said_to_have_expired(app: FastAPI, http: httpx.AsyncClient, store: Store):
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        store.forget(2**62)
        assert await onlooker.next() == Event("expired", {"session": "game"})
        assert await onlooker.next() is None


@pytest.mark.parametrize("id_", ["nobody", "x" * 300])
async def test_a_session_that_is_not_there_is_a_problem_as_elsewhere(app: FastAPI, http: httpx.AsyncClient, id_: str):
    response = await http.get(f"/sessions/{id_}/events")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == ("unknown_session" if id_ == "nobody" else "invalid_request")


async def test_a_session_that_was_replaced_between_two_looks_is_told_anew_if_more_than_its_moves_differs(
    app: FastAPI, http: httpx.AsyncClient, store: Store
):
    def replace_session(**changes: Any) -> None:
        with store.lock:
            (before,) = store.load_many(["game"])
            assert isinstance(before, Session)
            store.delete_many(["game"])
            after = replace(before, revision=before.revision + 10**9, cache=None, **changes)
            assert store.commit_many([Commit(after, None)]) == [True]

    await ok(http, "POST", "/sessions", {"session": "game", "moves": ["e4", "e5", "Nf3"]})
    await ok(http, "POST", "/sessions", {"session": "other", "moves": ["e4", "c5"]})
    await ok(http, "POST", "/sessions", {"session": "red", "model": "colours", "moves": ["red", "blue"]})
    await ok(http, "POST", "/sessions", {"session": "home", "model": "pages", "moves": ["home", "item"]})
    other, red, home = (one for one in store.load_many(["other", "red", "home"]) if isinstance(one, Session))
    assert red.moves == home.moves
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        replace_session(context={"white_elo": 2000})
        event = await onlooker.next()
        assert event == Event("session", await ok(http, "GET", "/sessions/game?top_k=100"), "3")
        replace_session(moves=other.moves)
        event = await onlooker.next()
        assert (event.kind, event.data["ply"], event.data["moves"]) == ("takeback", 2, ["c7c5"])
        assert onlooker.moves == ["e2e4", "c7c5"]
        for one, moves in (red, ["red", "blue"]), (home, ["home", "item"]):
            replace_session(model=one.model, vocabulary=one.vocabulary, moves=one.moves, context={})
            event = await onlooker.next()
            assert (event.kind, event.data["moves"]) == ("session", moves)


async def test_a_session_that_a_new_version_of_its_model_plays_on_is_told_anew(
    settings: Settings, tmp_path: Path, store: Store
):
    root = tmp_path / "artifacts"
    write_artifact(root / "chess" / "1", TokenGame(COLOURS), seed=1)
    async with running(settings.model_copy(update={"artifacts": root})) as app, client_of(app) as http:
        await ok(http, "POST", "/sessions", {"session": "game", "moves": ["red", "blue"]})
        async with opened(Onlooker(app, "game")) as onlooker:
            assert (await onlooker.next()).data["model"]["version"] == "1"
            write_artifact(root / "chess" / "2", TokenGame(COLOURS), seed=2)
            shutil.rmtree(root / "chess" / "1")
            await ok(http, "POST", "/models/reload")
            answer = await play(http, ["green"])
            event = await onlooker.next()
            session = await ok(http, "GET", "/sessions/game?top_k=100")
            assert event == Event("session", session, "3")
            assert event.data["model"]["version"] == "2"
            assert (event.data["next"], event.data["surprisal"][-1:]) == (answer["next"], answer["surprisal"])


async def test_the_events_are_described(app: FastAPI):
    route = app.openapi()["paths"]["/sessions/{session}/events"]["get"]
    assert list(route["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {"404", "409", "422", "429", "503"} <= set(route["responses"])


# What it costs


async def test_many_onlookers_of_a_session_cost_one_look_and_watching_writes_nothing(
    app: FastAPI, http: httpx.AsyncClient, store: Store
):
    await ok(http, "POST", "/sessions", {"session": "game", "moves": ["e4"]})
    store.lose_states()
    onlookers = [Onlooker(app, "game") for _ in range(20)]
    fresh = (await ok(http, "POST", "/predict", {"sequences": [["e4"]], "top_k": 100, "score": True}))["predictions"][0]
    for onlooker in onlookers:
        event = await onlooker.next()
        assert (event.data["next"], event.data["surprisal"]) == (fresh["next"], fresh["surprisal"])
    assert store.commits == 1
    store.loads.clear()
    await play(http, ["e5"])
    assert [(await onlooker.next()).data["ply"] for onlooker in onlookers] == [2] * 20
    assert len(store.loads) <= 4
    assert store.commits == 2
    for onlooker in onlookers:
        await onlooker.hang_up()


async def test_a_slow_onlooker_is_told_once_of_all_it_missed(app: FastAPI, http: httpx.AsyncClient):
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as slow, opened(Onlooker(app, "game")) as quick:
        await slow.next()
        await quick.next()
        slow.readable.clear()
        for move in KASPAROV_TOPALOV:
            await play(http, [move])
            await quick.next()
        slow.readable.set()
        events = [await slow.next()]
        while len(slow.moves) < 87:
            events.append(await slow.next())
        assert len(events) <= 2
        assert slow.moves == quick.moves == (await ok(http, "GET", "/sessions/game"))["moves"]


async def test_onlookers_and_sockets_share_the_most_streams(settings: Settings, store: Store):
    async with running(settings.model_copy(update={"max_streams": 1})) as app, client_of(app) as http:
        await ok(http, "POST", "/sessions", {"session": "game"})
        async with opened(Onlooker(app, "game")) as onlooker:
            await onlooker.next()
            response = await http.get("/sessions/game/events")
            assert (response.status_code, response.json()["code"]) == (429, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
        async with opened(Onlooker(app, "game")) as onlooker:
            assert (await onlooker.next()).kind == "session"


async def test_an_onlooker_who_leaves_leaves_nothing_behind(app: FastAPI, http: httpx.AsyncClient, store: Store):
    await ok(http, "POST", "/sessions", {"session": "game"})
    onlookers = [Onlooker(app, "game") for _ in range(3)]
    for onlooker in onlookers:
        await onlooker.next()
    assert store.watching == 1
    for onlooker in onlookers[1:]:
        await onlooker.hang_up()
    await play(http, ["e4"])
    assert (await onlookers[0].next()).data["ply"] == 1
    onlookers[0].readable.clear()
    await play(http, ["e5"])
    await onlookers[0].hang_up()
    await asyncio.sleep(0)
    assert our_tasks() == set()
    assert store.watching == 0


# What goes wrong


async def test_a_stream_stays_open_while_the_store_is_away_and_goes_on(
    app: FastAPI, http: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
):
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        for told in (True, False):
            store.broken = True
            store._watchers.tell("game")
            await asyncio.sleep(0.15)
            assert (await http.get("/sessions/game/events")).status_code == 503
            store.broken, store.silent = False, not told
            await play(http, ["e4"] if told else ["e5"])
            assert (await onlooker.next()).kind == "moves"
        assert onlooker.moves == ["e2e4", "e7e5"]


async def test_a_write_that_nobody_told_of_is_found_all_the_same(
    app: FastAPI, http: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.streams.onlookers._ROUNDS", 2)
    store.silent = True
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        await play(http, ["e4"])
        assert (await onlooker.next()).data["moves"] == ["e2e4"]


async def test_a_bug_of_ours_ends_the_stream_and_is_logged(
    app: FastAPI, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        with monkeypatch.context() as patch:
            patch.setattr(View, "of", lambda *_: 1 / 0)
            await play(http, ["e4"])
            assert await onlooker.next() is None
    assert "ZeroDivisionError" in caplog.text
    async with opened(Onlooker(app, "game")) as onlooker:
        assert (await onlooker.next()).data["ply"] == 1


async def test_a_stop_ends_the_streams_and_takes_no_new_ones(app: FastAPI, http: httpx.AsyncClient):
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        app.state.stopping.begin()
        assert await onlooker.next() is None
        assert (await http.get("/sessions/game/events")).json()["code"] == "draining"


async def test_silence_is_broken_by_comments(app: FastAPI, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("service.routes.events._QUIET", 0.02)
    await ok(http, "POST", "/sessions", {"session": "game"})
    async with opened(Onlooker(app, "game")) as onlooker:
        await onlooker.next()
        while not onlooker.text.endswith(":\n\n:\n\n"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(onlooker.next(), 0.1)
        await play(http, ["e4"])
        assert (await onlooker.next()).data["ply"] == 1


# Whatever happens, the events add up


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["memory", "lmdb"])
async def test_an_onlooker_who_replays_the_events_has_the_moves_of_the_session(
    settings: Settings, kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("service.streams.onlookers._BEAT", 0.005)
    draw = random.Random(seed)
    async with running(settings.model_copy(update={"store": kind, "fsync": False})) as app, client_of(app) as http:
        await ok(http, "POST", "/sessions", {"session": "game", "model": "colours"})
        onlookers = [Onlooker(app, "game") for _ in range(3)]
        ply = 0
        for _ in range(60):
            onlooker = draw.choice(onlookers)
            if draw.random() < 0.5:
                onlooker.readable.clear()
            else:
                onlooker.readable.set()
            if ply and draw.random() < 0.4:
                ply = draw.randrange(ply)
                await ok(http, "POST", "/sessions/game/takeback", {"to_ply": ply})
            else:
                moves = draw.choices(COLOURS, k=draw.randint(1, 4))
                ply = (await play(http, moves))["ply"]
            await asyncio.sleep(draw.choice([0, 0.001, 0.01]))
        await play(http, ["red"])
        session = await ok(http, "GET", "/sessions/game?top_k=100")
        for onlooker in onlookers:
            onlooker.readable.set()
            while (event := await onlooker.next()).data["next"] != session["next"] or (
                onlooker.moves != session["moves"]
            ):
                pass
            assert event.data["ply"] == session["ply"]
            await onlooker.hang_up()


GAME = TokenGame(COLOURS)
IDS = st.lists(st.integers(0, len(COLOURS) - 1), max_size=6).map(tuple)


def view(ids: tuple[int, ...], white: int) -> View:
    position = GAME.new_position()
    surprisal = np.array([10 * ply + move for ply, move in enumerate(ids)], np.float32)
    following = Distribution(None, np.array([-1, -2, -3, -4, -5], np.float32))
    moves = [COLOURS[move] for move in ids]
    model = {"name": "colours", "version": "1"}
    return View("game", 0, "graph", model, {"white": white}, ids, moves, surprisal, position, following)


@given(IDS, IDS, st.integers(0, 1), st.integers(0, 1))
def test_what_is_told_since_an_earlier_look_makes_up_the_difference(
    before: tuple[int, ...], after: tuple[int, ...], white: int, then: int
):
    seen, now = view(before, white), view(after, then)
    event = now.since(seen, top_k=3)
    if event is None:
        assert (before, white) == (after, then)
        return
    kept = len(after) - len(event.data["moves"])
    assert replay(seen.moves, Event(event.kind, event.data)) == now.moves
    assert event.data["surprisal"] == now.surprisal[kept:].tolist()
    assert [move["move"] for move in event.data["next"]] == list(COLOURS[:3])
    if white != then:
        assert event.kind == "session"
    else:
        assert event.kind == ("moves" if after[: len(before)] == before else "takeback")


# Real processes


class Listener:
    """An onlooker of a real service."""

    def __init__(self, id_: str, url: str) -> None:
        self.moves: list[str] = []
        self.kinds: list[str] = []
        self._told = asyncio.Event()
        self.listening = asyncio.create_task(self._listen(id_, url))

    async def _listen(self, id_: str, url: str) -> None:
        async with (
            httpx.AsyncClient(base_url=url, timeout=30) as http,
            http.stream("GET", f"/sessions/{id_}/events") as stream,
        ):
            assert stream.headers["content-type"] == "text/event-stream"
            text = ""
            async for part in stream.aiter_text():
                *blocks, text = (text + part).split("\n\n")
                for event in read_events("\n\n".join(blocks)):
                    self.kinds.append(event.kind)
                    if "moves" in event.data:
                        self.moves = replay(self.moves, event)
                    self._told.set()

    async def has(self, moves: list[str]) -> None:
        """Wait until these are the moves."""
        async with asyncio.timeout(10):
            while self.moves != moves:
                self._told.clear()
                await self._told.wait()

    async def end(self) -> list[str]:
        """Wait for the end of the stream; give the kinds of all events."""
        await asyncio.wait_for(self.listening, 10)
        return self.kinds


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey") as server:
        yield server


@pytest.mark.parametrize("kind", ["lmdb", "valkey"])
async def test_onlookers_of_two_processes_see_what_is_played_in_either(
    artifacts: Path, tmp_path: Path, valkey: ValkeyServer, kind: str
):
    kept: dict[str, Any] = {"store": valkey.url} if kind == "valkey" else {"data_dir": tmp_path / "data"}
    settings = Settings(artifacts=artifacts, **kept)
    with Process(settings) as one, Process(settings) as other:
        async with httpx.AsyncClient(base_url=one.url) as first, httpx.AsyncClient(base_url=other.url) as second:
            await ok(first, "POST", "/sessions", {"session": "game"})
            listeners = [Listener("game", one.url), Listener("game", other.url)]
            moves: list[str] = []
            for ply, move in enumerate(KASPAROV_TOPALOV[:12]):
                await play((first, second)[ply % 2], [move])
                if ply % 4 == 0:
                    moves = (await ok(first, "GET", "/sessions/game"))["moves"]
                    await asyncio.gather(*(listener.has(moves) for listener in listeners))
            await ok(second, "POST", "/sessions/game/takeback", {"to_ply": 3})
            await asyncio.gather(*(listener.has(moves[:3]) for listener in listeners))
            await ok(first, "DELETE", "/sessions/game")
            for kinds in [await listener.end() for listener in listeners]:
                assert kinds[0] == "session"
                assert kinds[-2:] == ["takeback", "deleted"]
                assert set(kinds[1:-2]) == {"moves"}


async def test_a_stream_outlives_a_restart_of_the_store(artifacts: Path, tmp_path: Path):
    with (
        ValkeyServer(tmp_path / "valkey", "--appendonly yes") as valkey,
        Process(Settings(artifacts=artifacts, store=valkey.url)) as process,
    ):
        async with httpx.AsyncClient(base_url=process.url, timeout=30) as http:
            await ok(http, "POST", "/sessions", {"session": "game", "moves": ["e4"]})
            listener = Listener("game", process.url)
            await listener.has(["e2e4"])
            await asyncio.to_thread(valkey.stop)
            assert (await http.get("/sessions/game")).status_code == 503
            await asyncio.to_thread(valkey.start)
            for _ in range(100):
                answer = await http.post("/sessions/game/moves", json={"moves": ["e5"], "ply": 1})
                if answer.is_success:
                    break
                await asyncio.sleep(0.05)
            await listener.has(["e2e4", "e7e5"])
            await ok(http, "DELETE", "/sessions/game")
            assert await listener.end() == ["session", "moves", "deleted"]


async def test_a_stop_of_the_service_ends_event_streams_in_order(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data")
    with Process(settings) as process:
        async with httpx.AsyncClient(base_url=process.url) as http:
            await ok(http, "POST", "/sessions", {"session": "game", "moves": ["e4"]})
            listener = Listener("game", process.url)
            await listener.has(["e2e4"])
            process.terminate()
            assert await listener.end() == ["session"]
        _, written = await asyncio.to_thread(process.wait)
    assert "Traceback" not in written
    assert "exceeded" not in written


def test_the_example_of_an_onlooker_runs_as_it_is_written(artifacts: Path, capsys: pytest.CaptureFixture[str]):
    printed = ""

    def wait_for(text: str) -> None:
        nonlocal printed
        while text not in printed:
            time.sleep(0.01)
            printed += capsys.readouterr().out

    with (
        Process(Settings(artifacts=artifacts, store="memory")) as process,
        httpx.Client(base_url=process.url) as http,
        ThreadPoolExecutor(1) as thread,
    ):
        http.post("/sessions", json={"session": "board-7", "moves": ["e4", "e5"]}).raise_for_status()
        running = thread.submit(exec, example("httpx").replace("http://localhost:8000", process.url), {})
        wait_for("session")
        http.post("/sessions/board-7/takeback", json={"to_ply": 1}).raise_for_status()
        wait_for("takeback")
        http.delete("/sessions/board-7").raise_for_status()
        running.result(10)
    assert printed.splitlines() == ["session e2e4 e7e5", "takeback e2e4"]
