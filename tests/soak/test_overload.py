"""Four times more load than the service can serve: it answers as fast as at capacity, or refuses, and stays well."""

import os
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tqdm import tqdm

from service.sessions import open_store
from service.settings import Settings
from tests.soak import load
from tests.soak.client import Client
from tests.soak.filled import check_filled, fill, patterns
from tests.soak.processes import Service, memory_of

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Size:
    requests: int
    """What the service answers at the same time."""
    sessions: int
    warm_up: float
    seconds: float
    generators: int


@pytest.fixture
def size(full: bool) -> Size:
    return Size(1024, 20_000, 10, 60, 2) if full else Size(16, 2000, 1, 2, 1)


async def times_alone(client: Client, count: int) -> list[float]:
    """Give the seconds that requests take, one after another."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await client.ok("POST", "/predict", {"sequences": [["e4", "e5"]]})
        times.append(time.perf_counter() - begin)
    return times


async def test_four_times_the_load_is_refused_and_harms_nobody(size: Size, full: bool, tmp_path: Path):
    data = tmp_path / "data"
    # What other tests wrote is not to be waited for here.
    os.sync()
    async with Service(tmp_path, max_requests=size.requests) as service:
        client = Client(service.url)
        store = open_store(Settings(data_dir=data))
        fill(store, await patterns(client, store), size.sessions, quiet=not full)
        store.close()
        alone = await times_alone(client, 50)

        steady = load.Load(service.url, size.sessions, size.requests, size.warm_up)
        # Twice: the first time warms up.
        for _ in range(2):
            at_capacity = await load.run(steady)
            steady = replace(steady, plies=at_capacity.plies)
        rate = at_capacity.answers["200"] / size.warm_up
        storm = replace(steady, connections=4 * size.requests, seconds=size.seconds, rate=4 * rate)
        async with memory_of(service) as memory:
            under_load = await load.run(replace(storm, parts=size.generators))
        afterwards = await times_alone(client, 20)

        fifth = len(memory) // 5
        early, late = statistics.median(memory[fifth : 2 * fifth]), statistics.median(memory[-fifth:])
        tqdm.write(
            f"capacity {rate:.0f}/s, p50 {at_capacity.accepted(0.5):.0f} ms, p99 {at_capacity.accepted(0.99):.0f} ms\n"
            f"offered {len(under_load.late) / size.seconds:.0f}/s for {size.seconds} s by {size.generators} processes, "
            f"p99 of lateness {under_load.lateness(0.99):.0f} ms, {under_load.unsent} had no connection\n"
            f"accepted {under_load.answers.get('200', 0) / size.seconds:.0f}/s, p50 {under_load.accepted(0.5):.0f} ms, "
            f"p99 {under_load.accepted(0.99):.0f} ms; refused {under_load.answers.get('429', 0)}\n"
            f"memory {early / 2**20:.0f} MiB early, {late / 2**20:.0f} late; a request alone took "
            f"{statistics.median(alone) * 1000:.1f} ms before, {max(afterwards[:3]) * 1000:.1f} at once after"
        )

        assert not at_capacity.wrong
        assert not under_load.wrong
        assert set(under_load.answers) == {"200", "429"}
        await check_filled(client, under_load.plies, sorted(under_load.plies)[: 100 if full else 20])
        client.close()
    if full:
        assert len(under_load.late) > 0.99 * size.seconds * 4 * rate
        assert under_load.accepted(0.99) <= 2 * at_capacity.accepted(0.99)
        assert late <= 1.05 * early
        assert statistics.median(afterwards) <= 2 * statistics.median(alone)
