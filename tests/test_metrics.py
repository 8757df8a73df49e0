"""What is counted is what happened."""

import asyncio
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.serving import Client, Process, serving

pytestmark = pytest.mark.anyio


def value(text: str, series: str) -> float:
    """Give the value of a series in Prometheus' text format, 0 if it is not there."""
    values = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{series} ")]
    return sum(values)


async def counted(client: Client, series: str) -> float:
    response = await client.get("/metrics")
    assert response.status_code == 200
    return value(response.text, series)


async def test_what_is_forgotten_and_what_is_rebuilt_is_counted(settings: Settings):
    lost, rebuilt = 'nextply_sessions_forgotten_total{what="state"}', "nextply_sessions_rebuilt_total"
    async with serving(settings.model_copy(update={"max_states": 1, "sweep_seconds": 0.01})) as client:
        before = [await counted(client, series) for series in (lost, rebuilt)]
        for id_ in ("one", "two", "three"):
            await client.ok("POST", "/sessions", {"session": id_, "moves": ["e4"]})
        async with asyncio.timeout(10):
            while (counts := await counted(client, lost)) < before[0] + 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert counts == before[0] + 2
        await client.ok("POST", "/sessions/three/peek", {"moves": ["e5"]})
        assert await counted(client, rebuilt) == before[1]
        await client.ok("POST", "/sessions/one/peek", {"moves": ["e5"]})
        assert await counted(client, rebuilt) == before[1] + 1


def test_several_processes_count_together(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path, workers=2, max_states=0, sweep_seconds=0.02)
    with Process(settings) as process:
        for number in range(20):
            # A new connection each time, so that both processes have something to do.
            httpx.post(f"{process.url}/sessions", json={"session": str(number)}).raise_for_status()
        scraped = 0.0
        while scraped < 20:
            scraped = value(httpx.get(f"{process.url}/metrics").text, 'nextply_sessions_forgotten_total{what="state"}')
    assert scraped == 20
