"""A mix of everything for a long time: the service keeps nothing of it, no memory, no file, no task."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from tqdm import tqdm

from service.app import create_app
from service.settings import Settings
from tests.soak.guest import entertain
from tests.soak.processes import ARTIFACTS, Service, free_port, memory_of, shared, until

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Size:
    guests: int
    warm_up: float
    seconds: float


@pytest.fixture
def size(full: bool) -> Size:
    return Size(24, 60, 600) if full else Size(4, 0, 2)


async def test_nothing_of_many_guests_stays(size: Size, full: bool, tmp_path: Path):
    async with Service(tmp_path) as service:
        await entertain(service.url, size.guests, size.warm_up, quiet=not full)
        files, threads = service.open_files(), service.threads()
        async with memory_of(service) as memory:
            games = await entertain(service.url, size.guests, size.seconds, quiet=not full)
        # Connections that were closed at this end are closed at the other a moment later.
        await until(lambda: service.open_files() <= files)
        tenth = len(memory) // 10
        early, late = statistics.median(memory[:tenth]), statistics.median(memory[-tenth:])
        tqdm.write(
            f"{games} games in {size.seconds} s: memory {early / 2**20:.1f} MiB after the warm-up, "
            f"{late / 2**20:.1f} at the end ({late / early - 1:+.1%}); {files} files open before, "
            f"{service.open_files()} after; {threads} threads before, {service.threads()} after"
        )
        if full:
            assert service.threads() <= threads
            assert late <= 1.05 * early


@asynccontextmanager
async def inside(settings: Settings) -> AsyncIterator[str]:
    """Give the address of a service that runs in this loop, where its tasks can be counted."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, ws="websockets-sansio", log_config=None))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("store", ["lmdb", "valkey"])
async def test_no_task_stays(store: str, size: Size, tmp_path: Path):
    with shared(store, tmp_path) as settings:
        async with inside(Settings(artifacts=ARTIFACTS, data_dir=tmp_path / "data", **settings)) as url:
            await entertain(url, 1, 0)
            tasks = len(asyncio.all_tasks())
            await entertain(url, size.guests, size.seconds / 10)
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
