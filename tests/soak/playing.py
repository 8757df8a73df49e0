"""Many who play at the same time, for as long as it takes to disturb them, and what must be true of them afterwards."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tqdm import tqdm

from tests.soak.client import Client
from tests.soak.player import Player, check_against_replay, refusals
from tests.soak.processes import Service, until


@asynccontextmanager
async def playing(*services: Service, clients: int) -> AsyncIterator[list[Player]]:
    """Let clients play game after game, at each service by turns, while the block runs, and their last one out."""
    players: list[Player] = []
    numbers, stopped = itertools.count(), asyncio.Event()

    async def keep_playing() -> None:
        own = [Client(service.url) for service in services]
        while not stopped.is_set():
            players.append(Player.number(next(numbers)))
            await players[-1].play(*own)
        for client in own:
            client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(keep_playing())
        yield players
        stopped.set()


async def acknowledged(players: list[Player], moves: int) -> None:
    """Wait until so many more moves were acknowledged."""
    goal = sum(player.ply for player in players) + moves
    await until(lambda: sum(player.ply for player in players) >= goal)


async def check(service: Service, players: list[Player], what: str, *, quiet: bool) -> None:
    """Compare every session with a replay, and say what was seen."""
    client = Client(service.url)
    await check_against_replay(client, players, quiet=quiet)
    client.close()
    moves = sum(player.ply for player in players)
    tqdm.write(f"{what}: {len(players)} games, {moves} moves acknowledged, all kept once; {refusals(players)}")
