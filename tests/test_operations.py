"""What an answer tells of itself: where its time went, under which name it is known, and one line in the log."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.engine import Engine
from service.routes import Json
from service.sessions import MemoryStore
from service.settings import Settings
from tests.serving import Client, running, serving

pytestmark = pytest.mark.anyio

ID = {"x-request-id": "caller-1"}
INFER = {"inputs": [{"name": "MOVES", "datatype": "BYTES", "shape": [1], "data": ["a4"]}]}


@pytest.fixture(scope="module")
async def served(artifacts: Path) -> AsyncIterator[Client]:
    async with serving(Settings(artifacts=artifacts, store="memory")) as client:
        yield client


@pytest.fixture
async def client(served: Client) -> Client:
    """A client of a service in which session ``game`` has one move."""
    await served.delete("/sessions/game")
    await served.ok("POST", "/sessions", {"session": "game", "moves": ["e4"]})
    return served


def timing(response: httpx.Response) -> dict[str, float]:
    """Give the milliseconds that an answer tells of, by their names."""
    found = re.fullmatch(r"queue;dur=(\d+\.\d+), model;dur=(\d+\.\d+), store;dur=(\d+\.\d+)", told(response))
    assert found is not None
    return dict(zip(("queue", "model", "store"), map(float, found.groups()), strict=True))


def told(response: httpx.Response) -> str:
    return str(response.headers.get("server-timing", ""))


# Each with the parts that it must have needed.
TIMED: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/sessions", {"moves": ["d4"]}, {"store"}),
    ("POST", "/sessions/game/moves", {"moves": ["e5"]}, {"model", "store"}),
    ("POST", "/sessions/game/moves", {"moves": ["e5", "Nf3"]}, {"model", "store"}),
    ("POST", "/sessions/game/peek", {"moves": ["e5"]}, {"model", "store"}),
    ("POST", "/sessions/game/takeback", {"to_ply": 0}, {"store"}),
    ("POST", "/sessions/game/fork", {}, {"store"}),
    ("POST", "/steps", {"steps": [{"session": "game", "moves": ["e5"]}]}, {"model", "store"}),
    ("POST", "/steps", {"steps": [{"session": "game", "moves": ["e5", "d4"]}]}, {"model", "store"}),
    ("POST", "/predict", {"sequences": [["a3", "h6"], ["h3", "a6"]]}, {"model"}),
    ("GET", "/sessions/game", None, {"store"}),
    ("GET", "/sessions", None, {"store"}),
    ("GET", "/sessions/game/state", None, {"store"}),
    ("DELETE", "/sessions/game", None, {"store"}),
    ("POST", "/sessions/nobody/moves", {"moves": ["e5"]}, {"store"}),
    ("POST", "/v2/models/chess/infer", INFER, {"model"}),
    ("POST", "/v2/models/chess/infer", INFER | {"parameters": {"sequence_id": 1, "sequence_start": True}}, {"store"}),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "parts"), TIMED, ids=[f"{method} {path}" for method, path, *_ in TIMED]
)
async def test_what_needed_the_network_or_the_store_says_how_long(
    client: Client, method: str, path: str, body: Any, parts: set[str]
):
    begun = time.perf_counter()
    response = await client.request(method, path, json=body)
    elapsed = (time.perf_counter() - begun) * 1000
    took = timing(response)
    assert {name for name, milliseconds in took.items() if milliseconds} >= parts
    assert sum(took.values()) <= elapsed + 0.002


@pytest.mark.parametrize("path", ["/health/live", "/metrics", "/models", "/nothing", "/v2/models/chess"])
async def test_what_needed_neither_says_nothing(client: Client, path: str):
    assert not told(await client.get(path))


async def test_a_move_is_timed_the_same_on_either_way(client: Client):
    for kind in ("application/json", "application/json; charset=utf-8"):
        content = Json({}).render({"moves": ["e5"]})
        response = await client.post("/sessions/game/peek", content=content, headers={"content-type": kind})
        assert timing(response)["model"] > 0


def slowed(call: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that takes 20 ms longer."""

    def slow(*given: Any) -> Any:
        time.sleep(0.02)
        return call(*given)

    return slow


async def test_time_in_the_network_is_told(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Engine, "step", slowed(Engine.step))
    assert timing(await client.post("/sessions/game/moves", json={"moves": ["e5"]}))["model"] >= 20
    assert timing(await client.post("/sessions/game/moves", json={"moves": ["Nf3", "Nc6"]}))["model"] >= 40


@pytest.mark.parametrize("method", ["commit_many", "load_many"])
async def test_time_in_the_store_is_told(artifacts: Path, monkeypatch: pytest.MonkeyPatch, method: str):
    monkeypatch.setattr(MemoryStore, method, slowed(getattr(MemoryStore, method)))
    # Without positions to remember every move has to be loaded.
    async with serving(Settings(artifacts=artifacts, store="memory", positions=0)) as client:
        await client.ok("POST", "/sessions", {"session": "game"})
        assert timing(await client.post("/sessions/game/moves", json={"moves": ["e4"]}))["store"] >= 20


async def test_who_waits_for_others_is_told_so(artifacts: Path, monkeypatch: pytest.MonkeyPatch):
    async with serving(Settings(artifacts=artifacts, store="memory", max_batch=1)) as client:
        monkeypatch.setattr(Engine, "step", slowed(Engine.step))
        bodies = [{"model": "colours", "sequences": [[first]]} for first in ("red", "green", "blue")]
        took = [timing(one) for one in await asyncio.gather(*(client.post("/predict", json=body) for body in bodies))]
    # Two steps each, one row at a time.
    assert all(one["model"] >= 40 for one in took)
    assert max(one["queue"] for one in took) >= 40


async def open_tables(client: Client, name: str) -> None:
    for number in range(20):
        await client.ok("POST", "/sessions", {"session": f"{name}-{number}"})


async def test_moves_that_are_played_together_are_each_timed_and_none_twice(client: Client):
    await open_tables(client, "one")

    async def play(number: int) -> tuple[dict[str, float], float]:
        begun = time.perf_counter()
        response = await client.post(f"/sessions/one-{number}/moves", json={"moves": ["e4"]})
        return timing(response), (time.perf_counter() - begun) * 1000

    for took, elapsed in await asyncio.gather(*map(play, range(20))):
        assert took["model"] > 0
        assert took["store"] > 0
        assert sum(took.values()) <= elapsed + 0.002


async def test_a_batch_of_many_steps_takes_no_longer_than_it_takes(client: Client):
    await open_tables(client, "two")
    # Half of them are plain; the others go the long way, at the same time.
    steps = [{"session": f"two-{number}", "moves": ["e4", "e5"][: 1 + number % 2]} for number in range(20)]
    begun = time.perf_counter()
    took = timing(await client.post("/steps", json={"steps": steps}))
    assert took["model"] > 0
    assert sum(took.values()) <= (time.perf_counter() - begun) * 1000 + 0.002


ANSWERS = [("GET", "/health/live", 200), ("GET", "/nothing", 404), ("POST", "/predict", 415), ("GET", "/v2/x", 404)]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_every_answer_has_the_id_that_its_request_came_with(client: Client, method: str, path: str, status: int):
    response = await client.request(method, path, headers=ID)
    assert (response.status_code, response.headers["x-request-id"]) == (status, "caller-1")


async def test_moves_and_refusals_have_it_too(artifacts: Path):
    async with running(Settings(artifacts=artifacts, store="memory", max_requests=1)) as app, Client(app) as client:
        body = {"model": "colours", "sequences": [["red"] * 500]}
        found = await asyncio.gather(*(client.post("/predict", json=body, headers=ID) for _ in range(3)))
        assert {one.status_code for one in found} == {200, 429}
        assert {one.headers["x-request-id"] for one in found} == {"caller-1"}


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", 'a"b', "a\tb", "{}"])
async def test_an_id_that_is_not_fit_for_a_log_is_made_anew(client: Client, given: str):
    ids = set()
    for _ in range(2):
        response = await client.get("/health/live", headers={"x-request-id": given.encode()})
        ids.add(response.headers["x-request-id"])
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", id_) for id_ in ids)


async def test_no_two_requests_without_an_id_are_given_the_same(client: Client):
    ids = [(await client.get("/health/live")).headers["x-request-id"] for _ in range(5)]
    assert len(set(ids)) == 5


async def test_the_log_has_a_line_for_every_request_if_asked_for(artifacts: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with serving(Settings(artifacts=artifacts, store="memory", access_log=True)) as client:
        await client.ok("POST", "/sessions", {"session": "board-7"})
        await client.ok("POST", "/sessions/board-7/moves", {"moves": ["g1h3"]})
        await client.get("/sessions/board-7?top_k=3")
        await client.get("/a%0Ab")
    lines = [record for record in caplog.records if record.name == "nextply.access"]
    assert [re.sub(r"[\d.]+ ms", "… ms", record.getMessage()) for record in lines] == [
        "POST /sessions 201 in … ms",
        "POST /sessions/board-7/moves 200 in … ms",
        "GET /sessions/board-7 200 in … ms",
        "GET /a%0Ab 404 in … ms",
    ]
    assert "g1h3" not in json.dumps([record.getMessage() for record in caplog.records])


async def test_without_being_asked_for_it_has_none(client: Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    await client.get("/models")
    assert not [record for record in caplog.records if record.name == "nextply.access"]
