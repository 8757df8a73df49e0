"""A service is killed in the middle of games and started again: its clients lose no move, and double none."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from nextply_client import AsyncClient, Client
from nextply_client.answers import Event
from nextply_client.errors import NextplyError
from nextply_client.retries import Retries

from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Process, start

GAMES = ("sync", "async", "stream", "async-stream")
PAUSE = 0.02
# Answers that a stream may be behind, and moves that one game may be before another: all are on when the service dies.
AHEAD, APART = 5, 10


class OnPort(Process):
    """A service on a given port, so that it can be started again where it was."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._process = start(settings, "--port", str(port))
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if "running on" in line:
                self.url = f"http://127.0.0.1:{port}"
                return
        raise AssertionError("".join(lines))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Players:
    """One game for each way to play, and one onlooker of each, in a thread each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.plies = dict.fromkeys(GAMES, 0)
        self.surprisals: dict[str, list[float]] = {name: [] for name in GAMES}
        self.seen: dict[str, list[str]] = {}
        self.failures: dict[str, list[NextplyError]] = {name: [] for name in (*GAMES, "events", "async-events")}

    def retries(self, name: str) -> Retries:
        return Retries(
            attempts=1000, total=60, longest=0.2, told=lambda failure, _: self.failures[name].append(failure)
        )

    def paces(self, name: str) -> Iterator[float]:
        """Give what to wait, again and again, before the next move: nobody leaves the others far behind."""
        yield PAUSE
        for _ in range(1000):
            if self.plies[name] < min(self.plies.values()) + APART:
                return
            yield PAUSE

    def take(self, name: str, surprisal: list[float], ply: int) -> None:
        self.surprisals[name] += surprisal
        self.plies[name] = ply

    def play_sync(self) -> None:
        with Client(self.url, retries=self.retries("sync")) as client:
            game = client.session("sync")
            for move in KASPAROV_TOPALOV:
                self.take("sync", game.play([move]).surprisal, game.ply)
                for seconds in self.paces("sync"):
                    time.sleep(seconds)

    async def play_async(self) -> None:
        async with AsyncClient(self.url, retries=self.retries("async")) as client:
            game = await client.session("async")
            for move in KASPAROV_TOPALOV:
                self.take("async", (await game.play([move])).surprisal, game.ply)
                for seconds in self.paces("async"):
                    await asyncio.sleep(seconds)

    def play_stream(self) -> None:
        with Client(self.url, retries=self.retries("stream")) as client, client.stream() as stream:
            game = client.session("stream")
            for move in KASPAROV_TOPALOV:
                stream.send(game, [move])
                while stream.expected > AHEAD:
                    self.take("stream", stream.receive().surprisal, game.ply)
                for seconds in self.paces("stream"):
                    time.sleep(seconds)
            for answer in stream:
                self.take("stream", answer.surprisal, answer.ply)

    async def play_async_stream(self) -> None:
        name = "async-stream"
        async with AsyncClient(self.url, retries=self.retries(name)) as client, client.stream() as stream:
            game = await client.session(name)
            for move in KASPAROV_TOPALOV:
                await stream.send(game, [move])
                while stream.expected > AHEAD:
                    self.take(name, (await stream.receive()).surprisal, game.ply)
                for seconds in self.paces(name):
                    await asyncio.sleep(seconds)
            async for answer in stream:
                self.take(name, answer.surprisal, answer.ply)

    def see(self, name: str, event: Event) -> bool:
        """Take an event; say whether the game that it is about is over."""
        self.seen[name] = event.after(self.seen.get(name, []))
        return len(self.seen[name]) == len(KASPAROV_TOPALOV)

    def watch(self) -> None:
        with Client(self.url, retries=self.retries("events")) as client:
            assert any(self.see("events", event) for event in client.events("stream"))

    async def watch_async(self) -> None:
        async with AsyncClient(self.url, retries=self.retries("async-events")) as client:
            async for event in client.events("async"):
                if self.see("async-events", event):
                    return

    def everybody(self) -> list[Callable[[], object]]:
        in_loops = self.play_async, self.play_async_stream, self.watch_async
        return [self.play_sync, self.play_stream, self.watch, *(partial(_in_loop, work) for work in in_loops)]


def _in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_service_that_is_killed_in_the_middle_of_games_costs_no_move(artifacts: Path, tmp_path: Path):
    port = free_port()
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data")
    process = OnPort(settings, port)
    try:
        players = Players(process.url)
        with Client(process.url) as client:
            for name in GAMES:
                client.open(name)
        with ThreadPoolExecutor() as pool:
            played = [pool.submit(work) for work in players.everybody()]
            for ply in (20, 50):
                wait_for(lambda ply=ply: min(players.plies.values()) >= ply or any(one.done() for one in played))
                assert max(players.plies.values()) < len(KASPAROV_TOPALOV)
                process.kill()
                process = OnPort(settings, port)
            for one in played:
                one.result(timeout=60)
        with Client(process.url) as client:
            replay = client.predict([KASPAROV_TOPALOV], score=True, each_ply=True).predictions[0]
            kept = {name: client.get(name) for name in GAMES}
    finally:
        process.kill()
    for name in GAMES:
        assert kept[name].moves == replay.moves
        assert kept[name].surprisal == players.surprisals[name] == replay.surprisal
    assert players.seen == {"events": replay.moves, "async-events": replay.moves}
    # Who waited for the others at that moment may not have noticed; those who were waited for have.
    assert any(players.failures[name] for name in GAMES)
    assert players.failures["events"]
    assert players.failures["async-events"]
