"""What is counted is what happened."""

import asyncio
import re
import threading
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from service.engine import Engine
from service.sessions import Cache, Commit, Kept, Session, open_store
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


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(client: Client) -> Series:
    """Give the values of all series by their names and labels."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


class Counted:
    """What a block adds to the series."""

    def __init__(self, before: Series) -> None:
        self._before = before
        self.after: Series = {}

    def __call__(self, name: str, **labels: str) -> float:
        key = name, frozenset(labels.items())
        return self.after.get(key, 0) - self._before.get(key, 0)


@pytest.fixture(scope="module")
async def served(artifacts: Path) -> AsyncIterator[Client]:
    async with serving(Settings(artifacts=artifacts, store="memory", sweep_seconds=60)) as client:
        yield client


async def adding(client: Client, *asked: Any) -> Counted:
    """Wait for requests, one after another, and give what they were counted as."""
    counts = Counted(await scraped(client))
    for request in asked:
        await request
    counts.after = await scraped(client)
    return counts


MOVE = {"moves": ["red"]}
COUNTED: list[tuple[str, str, Any, dict[str, str]]] = [
    ("POST", "/sessions/table/moves", MOVE, {"route": "/sessions/{session}/moves", "status": "2xx"}),
    ("POST", "/sessions/nobody/moves", MOVE, {"route": "/sessions/{session}/moves", "status": "4xx"}),
    ("POST", "/sessions/table/peek", MOVE, {"route": "/sessions/{session}/peek", "status": "2xx"}),
    ("GET", "/sessions/table", None, {"route": "/sessions/{session}", "status": "2xx"}),
    ("POST", "/steps", {"steps": []}, {"route": "/steps", "status": "4xx"}),
    ("GET", "/sessions?prefix=a", None, {"route": "/sessions", "status": "2xx"}),
    ("GET", "/v2/models/chess", None, {"route": "/v2/models/{model}", "status": "2xx"}),
    ("GET", "/v2/models/chess/versions/1", None, {"route": "/v2/models/{model}/versions/{version}", "status": "2xx"}),
    ("GET", "/nothing/is/here", None, {"route": "none", "status": "4xx"}),
    ("DELETE", "/models", None, {"route": "/models", "status": "4xx"}),
]


@pytest.mark.parametrize(("method", "path", "body", "labels"), COUNTED, ids=lambda value: str(value)[:40])
async def test_a_request_is_counted_by_its_route(
    served: Client, method: str, path: str, body: Any, labels: dict[str, str]
):
    await served.post("/sessions", json={"session": "table", "model": "colours"})
    counts = await adding(served, served.request(method, path, json=body))
    assert counts("nextply_request_seconds_count", method=method, **labels) == 1
    assert counts("nextply_request_seconds_bucket", method=method, le="+Inf", **labels) == 1
    assert 0 < counts("nextply_request_seconds_sum", method=method, **labels) < 30


async def test_no_label_holds_what_somebody_sent(served: Client):
    await served.request("BREW", "/coffee-pot-1")
    await served.get("/sessions/coffee-pot-1")
    await served.get("/v2/models/coffee-pot-1")
    await served.post("/predict", json={"sequences": [["e4"]], "model": "coffee-pot-1"})
    text = (await served.get("/metrics")).text
    assert 'method="other",route="none"' in text
    assert "coffee-pot" not in text
    assert "BREW" not in text


async def test_steps_are_counted_by_model_with_the_rows_that_shared_them(served: Client):
    of = {"model": "pages", "version": "1"}
    body = {"model": "pages", "sequences": [["home", "item", "pay"]] * 2}
    counts = await adding(served, served.ok("POST", "/predict", body | {"score": True}))
    steps = counts("nextply_step_seconds_count", **of)
    # Both sequences take the same ticks, or one of them found the steps of the other.
    assert 4 <= steps <= 8
    assert counts("nextply_tick_rows_count", **of) == steps
    assert counts("nextply_tick_rows_sum", **of) == 8
    assert counts("nextply_queue_seconds_count", **of) == 2
    assert counts("nextply_step_seconds_sum", **of) > 0
    assert counts("nextply_step_seconds_count", model="colours", version="1") == 0


async def test_what_waits_is_told_while_it_waits(artifacts: Path, monkeypatch: pytest.MonkeyPatch):
    go_on, step = threading.Event(), Engine.step

    def held(*given: Any) -> Any:
        assert go_on.wait(30)
        return step(*given)

    waiting = "nextply_steps_waiting", frozenset({("model", "colours"), ("version", "1")})
    running = "nextply_requests_running", frozenset[tuple[str, str]]()
    async with serving(Settings(artifacts=artifacts, store="memory")) as client:
        monkeypatch.setattr(Engine, "step", held)
        # Three rows are too many for the event loop.
        body = {"model": "colours", "sequences": [[first] * 20 for first in ("red", "green", "blue")]}
        asked = asyncio.create_task(client.ok("POST", "/predict", body))
        async with asyncio.timeout(30):
            while (series := await scraped(client))[waiting] == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # The scrape itself is one of those that run.
        assert (series[waiting], series[running]) == (63, 2)
        go_on.set()
        await asked
        series = await scraped(client)
        assert (series[waiting], series[running]) == (0, 1)


async def test_calls_to_the_store_are_counted_by_what_they_do(served: Client):
    counts = await adding(
        served,
        served.ok("POST", "/sessions", {"session": "short", "model": "colours"}),
        served.get("/sessions/unknown"),
        served.ok("DELETE", "/sessions/short"),
    )
    for operation in ("load", "commit", "delete"):
        assert counts("nextply_store_seconds_count", operation=operation) == 1
        assert counts("nextply_store_seconds_sum", operation=operation) > 0


async def test_problems_are_counted_by_their_codes_those_of_single_steps_too(served: Client):
    await served.post("/sessions", json={"session": "table", "model": "colours"})
    late = {"moves": ["red"], "ply": 99}
    counts = await adding(
        served,
        served.problem("POST", "/sessions/table/moves", late),
        served.ok("POST", "/steps", {"steps": [{"session": "table", **late}, {"session": "nobody", **MOVE}]}),
        served.problem("POST", "/sessions/table/moves", {"moves": ["mauve"]}),
    )
    assert counts("nextply_problems_total", status="409", code="ply_conflict") == 2
    assert counts("nextply_problems_total", status="404", code="unknown_session") == 1
    assert counts("nextply_problems_total", status="422", code="bad_move") == 1


async def test_a_problem_that_nobody_has_had_yet_is_counted_as_none(served: Client):
    series = await scraped(served)
    for status, code in (("429", "overloaded"), ("503", "store_failed"), ("503", "engine_failed")):
        assert ("nextply_problems_total", frozenset({("status", status), ("code", code)})) in series
    assert ("nextply_problems_total", frozenset({("status", "500"), ("code", "internal_error")})) in series


def eventually(url: str, series: str, expected: float) -> None:
    """Wait until a series has a value, through the death of workers."""
    ends = time.monotonic() + 60
    found = None
    while found != expected:
        assert time.monotonic() < ends, f"{series} is {found}"
        time.sleep(0.05)
        with suppress(httpx.TransportError):
            found = value(httpx.get(f"{url}/metrics").text, series)


def test_the_sessions_that_are_kept_are_told(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path, workers=2, max_states=2, sweep_seconds=0.05)
    with Process(settings) as process:
        for number in range(5):
            httpx.post(f"{process.url}/sessions", json={"session": str(number)}).raise_for_status()
        httpx.delete(f"{process.url}/sessions/0").raise_for_status()
        for what, count in (("session", 4), ("state", 2)):
            eventually(process.url, f'nextply_sessions_kept{{what="{what}"}}', count)


def test_a_store_counts_its_sessions_if_it_can(artifacts: Path, tmp_path: Path):
    session = Session("0", "colours", "1", "0" * 16, {}, (), 1, used=1000)
    alive = replace(session, cache=Cache("0" * 64, array("f"), np.empty(0, np.float32), b"state"))
    for name in ("memory", "lmdb"):
        store = open_store(Settings(artifacts=artifacts, store=name, data_dir=tmp_path, max_states=1))
        assert store.kept() == Kept(sessions=0, states=0)
        made = [alive, replace(alive, id="1", used=1001), replace(session, id="2", used=1002)]
        assert all(store.commit_many([Commit(one, None) for one in made]))
        assert store.kept() == Kept(sessions=3, states=2)
        store.forget(2000)
        assert store.kept() == Kept(sessions=3, states=1)
        store.delete_many(["1", "2"])
        assert store.kept() == Kept(sessions=1, states=0)
        assert store.commit_many([Commit(replace(alive, revision=2), 1), Commit(alive, 7)]) == [True, False]
        assert store.kept() == Kept(sessions=1, states=1)
        store.commit_many([Commit(replace(session, revision=3), 2)])
        assert store.kept() == Kept(sessions=1, states=0)
        store.close()


@contextmanager
def watched(url: str) -> Iterator[None]:
    with connect(url.replace("http", "ws") + "/stream") as stream:
        stream.send('{"ping":1}')
        stream.recv(timeout=30)
        yield


def test_open_streams_are_counted_and_those_of_a_worker_that_died_are_not(artifacts: Path, tmp_path: Path):
    with Process(Settings(artifacts=artifacts, data_dir=tmp_path, workers=2)) as process:
        with watched(process.url), watched(process.url):
            eventually(process.url, "nextply_streams_open", 2)
        eventually(process.url, "nextply_streams_open", 0)
        with watched(process.url):
            eventually(process.url, "nextply_streams_open", 1)
            for worker in process.workers():
                worker.kill()
            time.sleep(0.1)
        eventually(process.url, "nextply_streams_open", 0)


def test_what_workers_count_in_the_meantime_is_added_up(artifacts: Path, tmp_path: Path):
    with Process(Settings(artifacts=artifacts, data_dir=tmp_path, workers=2)) as process:
        for _ in range(20):
            httpx.post(f"{process.url}/predict", json={"model": "colours", "sequences": [["red"]]}).raise_for_status()
        counted = 0.0
        ends = time.monotonic() + 30
        while counted < 20:
            assert time.monotonic() < ends
            text = httpx.get(f"{process.url}/metrics").text
            counted = value(text, 'nextply_request_seconds_count{method="POST",route="/predict",status="2xx"}')
    assert counted == 20
    bounds = re.findall(r'nextply_request_seconds_bucket\{le="([^"]+)",method="POST",route="/predict"', text)
    assert bounds[-1] == "+Inf"
    assert len(bounds) == len(set(bounds))


async def test_the_statistics_of_v2_tell_queue_and_computing_apart(settings: Settings):
    moves = {"name": "MOVES", "datatype": "BYTES", "shape": [2], "data": ["red", "blue"]}
    async with serving(settings) as client:
        (before,) = (await client.ok("GET", "/v2/models/colours/stats"))["model_stats"]
        for sequence in range(3):
            parameters = {"sequence_id": sequence + 1, "sequence_start": True}
            await client.ok("POST", "/v2/models/colours/infer", {"inputs": [moves], "parameters": parameters})
        await client.post("/v2/models/colours/infer", json={"inputs": []})
        (after,) = (await client.ok("GET", "/v2/models/colours/stats"))["model_stats"]

    def added(part: str, unit: str) -> int:
        return int(after["inference_stats"][part][unit] - before["inference_stats"][part][unit])

    assert [added(part, "count") for part in ("success", "fail", "queue", "compute_infer")] == [3, 1, 3, 3]
    assert added("compute_infer", "ns") > 0
    assert added("queue", "ns") >= 0
    assert added("queue", "ns") + added("compute_infer", "ns") < added("success", "ns")
    # The start and two moves, which the second and the third share with the first.
    assert after["execution_count"] - before["execution_count"] == 3
    assert after["inference_count"] - before["inference_count"] == 3
