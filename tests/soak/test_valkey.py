"""Replicas and their Valkey server are killed while many play: what was acknowledged stays, and all goes on at once."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tqdm import tqdm

from tests.soak.client import Client
from tests.soak.player import Player
from tests.soak.playing import acknowledged, check, playing
from tests.soak.processes import Service
from tests.valkey_server import ValkeyServer

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Size:
    clients: int
    replica_kills: int
    store_kills: int
    moves: int
    """Moves that must be acknowledged between two kills."""
    recovery: float
    """The most seconds from the moment the store answers until all replicas are ready and a move was acknowledged."""


@pytest.fixture
def size(full: bool) -> Size:
    return Size(64, 10, 3, 1000, 2) if full else Size(8, 2, 1, 60, 20)


async def test_kills_of_replicas_and_of_valkey_lose_no_acknowledged_move(size: Size, full: bool, tmp_path: Path):
    rng, recoveries = random.Random(0), []
    events = ["replica"] * size.replica_kills + ["store"] * size.store_kills
    rng.shuffle(events)
    # Each write is on disk before it is answered: what a power cut would leave is what a kill leaves.
    with ValkeyServer(tmp_path / "valkey", "--appendonly", "yes", "--appendfsync", "always") as store:
        async with Service(tmp_path, store=store.url) as one, Service(tmp_path, store=store.url) as other:
            async with playing(one, other, clients=size.clients) as players:
                for event in tqdm(events, "kills", disable=not full):
                    await acknowledged(players, size.moves)
                    if event == "replica":
                        replica = rng.choice([one, other])
                        replica.kill()
                        replica.start()
                        await replica.ready()
                    else:
                        recoveries.append(await restart(store, players, one, other))
                await acknowledged(players, size.moves)
            lines = f"{size.replica_kills} kills of replicas, {size.store_kills} of Valkey"
            await check(one, players, f"{lines}, recovered after {max(recoveries):.2f} s", quiet=not full)
    assert max(recoveries) < size.recovery


async def restart(store: ValkeyServer, players: list[Player], *replicas: Service) -> float:
    """Kill the store and start it again; give the seconds from its first answer until all goes on."""
    store.kill()
    for replica in replicas:
        client = Client(replica.url)
        assert (await client.request("GET", "/health/ready")).status == 503
        assert (await client.request("GET", "/health/live")).status == 200
        client.close()
    await asyncio.to_thread(store.start)
    begin = time.perf_counter()
    for replica in replicas:
        await replica.ready()
    await acknowledged(players, 1)
    return time.perf_counter() - begin
