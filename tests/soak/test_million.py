"""A million sessions in the default store: what each takes on disk, and what their number costs a request."""

import random
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
import pytest
from tqdm import tqdm

from service.sessions import SessionStore, open_store
from service.settings import Settings
from tests.soak import load
from tests.soak.client import Client
from tests.soak.filled import check_filled, fill, name, patterns
from tests.soak.processes import Service

pytestmark = pytest.mark.anyio

_FEW = 1000
_CONNECTIONS = 64
_TWO_DAYS = 2 * 86_400_000


@dataclass(frozen=True)
class Size:
    sessions: int
    seconds: float
    rounds: int
    checked: int


@pytest.fixture
def size(full: bool) -> Size:
    return Size(1_000_000, 5, 3, 100) if full else Size(20_000, 1, 0, 10)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for gigabytes, which are gone after the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def opened(folder: Path) -> SessionStore:
    """Open the store of a service, to fill it without waiting for the disk."""
    return open_store(Settings(data_dir=folder / "data", fsync=False))


def on_disk(folder: Path) -> int:
    """Give the bytes that the store's file takes."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("data.mdb"))


def in_use(folder: Path) -> int:
    """Give the bytes of the store's file without the pages that are free to be used again."""
    copy = folder / "copy"
    copy.mkdir()
    with lmdb.open(str(folder / "data" / "sessions.lmdb"), readonly=True, lock=False) as environment:
        environment.copy(str(copy), compact=True)
    return on_disk(copy)


async def check_some(service: Service, plies: dict[int, int], size: Size) -> None:
    """Hold some sessions against a fresh replay, some of them of those that were played in."""
    rng, client = random.Random(0), Client(service.url)
    numbers = rng.sample(range(size.sessions), size.checked) + sorted(plies)[: size.checked]
    await check_filled(client, plies, numbers)
    client.close()


async def test_many_sessions_are_small_and_cost_no_speed(size: Size, full: bool, folder: Path):
    few, many = folder / "few", folder / "many"
    async with Service(few) as service:
        client, store = Client(service.url), opened(few)
        like = await patterns(client, store)
        client.close()
        store.close()
    store = opened(many)
    fill(store, like, size.sessions, quiet=not full)
    store.close()
    with_state = on_disk(many) / size.sessions

    async with Service(few) as small, Service(many) as large:
        large.kill()
        large.start()
        restart = await large.ready()
        rates: dict[Service, list[float]] = {small: [], large: []}
        plies: dict[int, int] = {}
        for _ in tqdm(range(size.rounds), "rounds", disable=not full):
            store = opened(few)
            # Games that were played on would be over before the last round.
            store.delete_many([name(number) for number in range(_FEW)])
            fill(store, like, _FEW)
            store.close()
            for service, sessions in ((small, _FEW), (large, size.sessions)):
                given = plies if service is large else {}
                result = await load.run(load.Load(service.url, sessions, _CONNECTIONS, size.seconds, plies=given))
                assert set(result.answers) == {"200"}, result.wrong
                rates[service].append(result.answers["200"] / size.seconds)
            plies = result.plies
        await check_some(large, plies, size)

    store, cooled = opened(many), 0
    while forgotten := store.forget(time.time_ns() // 1_000_000 + _TWO_DAYS).states:
        cooled += forgotten
    store.close()
    assert cooled == size.sessions
    log_only = in_use(many) / size.sessions
    async with Service(many) as service:
        await check_some(service, plies, size)

    tqdm.write(
        f"{size.sessions} sessions: {with_state:.0f} bytes each, {log_only:.0f} without state, up in {restart:.2f} s"
    )
    assert with_state <= 6 * 1024
    assert log_only <= 400
    if full:
        at_few, at_many = (statistics.median(rates[service]) for service in (small, large))
        tqdm.write(
            f"{at_few:.0f} requests/s with {_FEW} sessions, {at_many:.0f} with {size.sessions}: {at_many / at_few:.2f}"
        )
        assert restart < 5
        assert at_many >= 0.8 * at_few
