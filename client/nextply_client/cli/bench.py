"""Plays games against a service, every connection one move after another, and says how fast it was answered."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from nextply_client.async_client import AsyncClient, AsyncSession
from nextply_client.errors import NextplyError


@dataclass(frozen=True, slots=True)
class Load:
    """What to do: so many connections, for so many seconds, games of at most so many plies."""

    connections: int
    seconds: float
    plies: int
    model: str | None = None


@dataclass(slots=True)
class Report:
    """What came of it; milliseconds are of moves, waits for a further attempt included."""

    connections: int
    seconds: float
    moves: int
    moves_per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    retried: dict[str, int] = field(default_factory=dict)


def report(load: Load, seconds: float, latencies: list[float], retried: Counter[str]) -> Report:
    """Put the figures together; ``latencies`` are seconds."""
    ordered = sorted(latencies) or [0.0]

    def at(share: float) -> float:
        return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2)

    rate = round(len(latencies) / seconds, 1)
    figures = at(0.5), at(0.9), at(0.99), at(1)
    return Report(load.connections, round(seconds, 2), len(latencies), rate, *figures, dict(retried))


class Players:
    """Plays as the service predicts, so that every move is legal, whatever the game."""

    def __init__(self, client: AsyncClient, load: Load) -> None:
        """Take the client and what to do."""
        self._client, self._load = client, load
        self._latencies = list[float]()

    async def run(self, retried: Counter[str]) -> Report:
        """Play until the time is over; ``retried`` counts what was sent again, and goes into the report."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self._load.connections):
                group.create_task(self._play(random.Random(number), began + self._load.seconds))
        return report(self._load, time.monotonic() - began, self._latencies, retried)

    async def _play(self, rng: random.Random, until: float) -> None:
        while time.monotonic() < until:
            game = await self._client.open(model=self._load.model)
            try:
                await self._play_one(game, rng, until)
            finally:
                await self._forget(game)

    async def _play_one(self, game: AsyncSession, rng: random.Random, until: float) -> None:
        while game.next and game.ply < self._load.plies and time.monotonic() < until:
            weights = [candidate.probability + 1e-9 for candidate in game.next]
            move = rng.choices([candidate.move for candidate in game.next], weights)[0]
            began = time.monotonic()
            await game.play([move])
            self._latencies.append(time.monotonic() - began)

    async def _forget(self, game: AsyncSession) -> None:
        try:
            await game.delete()
        except NextplyError:
            # It expires by itself; why the service is away is told by what brought us here.
            return
