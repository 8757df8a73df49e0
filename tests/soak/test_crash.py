"""Worker processes are killed while many play: no acknowledged move is lost, and none is applied twice."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from tqdm import tqdm

from tests.soak.playing import acknowledged, check, playing
from tests.soak.processes import Service, until

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Size:
    workers: int
    clients: int
    kills: int
    moves: int
    """Moves that must be acknowledged between two kills."""


@pytest.fixture
def size(full: bool) -> Size:
    return Size(4, 64, 20, 1000) if full else Size(2, 8, 3, 60)


async def test_kills_of_workers_lose_no_acknowledged_move_and_apply_none_twice(size: Size, full: bool, tmp_path: Path):
    rng = random.Random(0)
    async with Service(tmp_path, workers=size.workers) as service:
        # Each client has two connections, so that games are played by several workers at once.
        async with playing(service, service, clients=size.clients) as players:
            for _ in tqdm(range(size.kills), "kills", disable=not full):
                await acknowledged(players, size.moves)
                await until(lambda: len(service.workers()) == size.workers)
                service.kill_a_worker(rng)
            await acknowledged(players, size.moves)
        await check(service, players, f"{size.kills} kills of {size.workers} workers", quiet=not full)
    assert any(player.refused["lost"] for player in players)


@pytest.mark.parametrize("fsync", [True, False])
async def test_a_kill_of_all_processes_loses_no_acknowledged_move(fsync: bool, size: Size, full: bool, tmp_path: Path):
    async with Service(tmp_path, workers=size.workers, fsync=fsync) as service:
        async with playing(service, clients=size.clients) as players:
            await acknowledged(players, size.moves)
            service.kill()
            service.start()
            seconds = await service.ready()
            await acknowledged(players, size.moves)
        await check(service, players, f"all killed, fsync {fsync}, ready after {seconds:.1f} s", quiet=not full)
