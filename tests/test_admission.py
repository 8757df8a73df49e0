"""How many requests run, how long each may, and what becomes of those for which nobody waits."""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from service.admission import Admission
from service.attention import LEAVING, Leaving
from service.deadline import begin_deadline, within_deadline
from service.engine import Engine
from service.errors import DeadlinePassed
from service.security.connections import BoundedProtocol
from service.settings import Settings
from service.stopping import Stopping
from tests.serving import Client, predict_one, read_problem, serving

pytestmark = pytest.mark.anyio


class Behind:
    """An application that answers its requests once it is told to, and knows which of them were cancelled."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.cancelled: list[str] = []
        self.free, self.gave_up = asyncio.Event(), asyncio.Event()
        self.begins_to_answer = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return
        while (await receive())["more_body"]:
            pass
        self.running.append(scope["path"])
        start = {"type": "http.response.start", "status": 200, "headers": []}
        try:
            if self.begins_to_answer:
                await send(start)
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled.append(scope["path"])
            self.gave_up.set()
            raise
        if not self.begins_to_answer:
            await send(start)
        await send({"type": "http.response.body", "body": b"{}"})


class Exchange:
    """One request of a client that sends its body and then waits, until it leaves."""

    def __init__(
        self,
        path: str = "/predict",
        headers: dict[str, str] | None = None,
        parts: int = 1,
        leaving: Leaving | None = None,
    ) -> None:
        encoded = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": encoded, "state": {}}
        self.leaving = leaving
        if leaving is not None:
            self.scope["state"] = {LEAVING: leaving}
        self.to_come: asyncio.Queue[Message] = asyncio.Queue()
        for part in range(parts):
            self.to_come.put_nowait({"type": "http.request", "body": b" ", "more_body": part < parts - 1})
        self.sent: list[Message] = []

    async def through(self, app: Callable[..., Awaitable[None]]) -> "Exchange":
        await app(self.scope, self._receive, self._send)
        return self

    def leave(self) -> None:
        if self.leaving is None:
            self.to_come.put_nowait({"type": "http.disconnect"})
        else:
            self.leaving.left()

    async def _receive(self) -> Message:
        return await self.to_come.get()

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.sent[1]["body"])


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def stopping() -> Stopping:
    return Stopping()


@pytest.fixture
def admission(behind: Behind, stopping: Stopping) -> Admission:
    return Admission(behind, Settings(max_requests=3, request_timeout_ms=200), stopping)


def begin(admission: Admission, *exchanges: Exchange) -> list["asyncio.Task[Exchange]"]:
    return [asyncio.create_task(exchange.through(admission)) for exchange in exchanges]


async def test_no_more_requests_run_than_may_and_the_others_are_told_when_to_come_again(admission, behind):
    running = begin(admission, *(Exchange() for _ in range(3)))
    await asyncio.sleep(0.03)
    refused = await Exchange().through(admission)
    assert refused.status == 429
    assert refused.problem["code"] == "overloaded"
    assert refused.problem["retry_after_ms"] >= 1
    assert refused.headers["retry-after"] == "1"
    assert len(behind.running) == 3
    behind.free.set()
    assert [exchange.status for exchange in await asyncio.gather(*running)] == [200] * 3
    assert (await Exchange().through(admission)).status == 200


async def test_the_estimate_is_the_time_in_which_as_many_were_through_before(admission, behind):
    for _ in range(3):
        running = begin(admission, *(Exchange() for _ in range(3)))
        await asyncio.sleep(0.12)
        behind.free.set()
        await asyncio.gather(*running)
        behind.free.clear()
    running = begin(admission, *(Exchange() for _ in range(3)))
    await asyncio.sleep(0)
    assert 100 <= (await Exchange().through(admission)).problem["retry_after_ms"] <= 1000
    behind.free.set()
    await asyncio.gather(*running)


@pytest.mark.parametrize("path", ["/health/ready", "/v2/health/ready", "/metrics", "/sessions/game/events"])
async def test_probes_metrics_and_event_streams_are_served_however_much_runs(admission, behind, path):
    running = begin(admission, *(Exchange() for _ in range(3)), *(Exchange(path) for _ in range(3)))
    await asyncio.sleep(0)
    behind.free.set()
    assert [exchange.status for exchange in await asyncio.gather(*running)] == [200] * 6


@pytest.mark.parametrize("make_leaving", [Leaving, lambda: None], ids=["told", "read"])
async def test_a_request_whose_client_leaves_is_cancelled_and_makes_room(admission, behind, make_leaving):
    exchanges = [Exchange(f"/{number}", parts=2, leaving=make_leaving()) for number in range(3)]
    running = begin(admission, *exchanges)
    await asyncio.sleep(0.01)
    exchanges[1].leave()
    left = await asyncio.wait_for(running[1], timeout=10)
    assert behind.cancelled == ["/1"]
    assert left.sent == []
    behind.free.set()
    assert (await Exchange().through(admission)).status == 200
    assert [(await running[number]).status for number in (0, 2)] == [200, 200]
    assert behind.cancelled == ["/1"]


@pytest.mark.parametrize("make_leaving", [Leaving, lambda: None], ids=["told", "read"])
async def test_a_client_that_leaves_once_its_answer_has_begun_cancels_nothing(admission, behind, make_leaving):
    behind.begins_to_answer = True
    exchange = Exchange(leaving=make_leaving())
    (running,) = begin(admission, exchange)
    await asyncio.sleep(0.15)
    exchange.leave()
    await asyncio.sleep(0.01)
    behind.free.set()
    assert len((await running).sent) == 2
    assert behind.cancelled == []


async def test_a_server_tells_that_a_client_has_left(admission, behind):
    server = uvicorn.Server(uvicorn.Config(admission, http=BoundedProtocol, lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        _, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"POST /predict HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\n{}")
        # Beyond the moment from which on the request is looked after.
        await asyncio.sleep(0.15)
        assert behind.running == ["/predict"]
        writer.close()
        await asyncio.wait_for(behind.gave_up.wait(), timeout=10)
        server.should_exit = True
        await serving
    assert behind.cancelled == ["/predict"]


async def test_a_body_that_does_not_arrive_in_the_time_of_its_request_is_408(admission, behind):
    exchange = Exchange(parts=2)
    exchange.to_come = asyncio.Queue()
    slow = await asyncio.wait_for(exchange.through(admission), timeout=10)
    assert slow.status == 408
    assert slow.problem["code"] == "slow_body"
    assert "200 ms" in slow.problem["detail"]
    assert slow.headers["connection"] == "close"
    assert behind.running == []


@pytest.mark.parametrize("make_leaving", [Leaving, lambda: None], ids=["told", "read"])
async def test_a_body_that_arrives_late_but_in_time_is_read_and_its_client_watched_from_then_on(
    admission, behind, make_leaving
):
    exchange = Exchange(parts=2, leaving=make_leaving())
    last = [exchange.to_come.get_nowait() for _ in range(2)][1]
    (running,) = begin(admission, exchange)
    await asyncio.sleep(0.12)
    exchange.to_come.put_nowait(last)
    await asyncio.sleep(0.12)
    assert behind.running == ["/predict"]
    exchange.leave()
    await asyncio.wait_for(running, timeout=10)
    assert behind.cancelled == ["/predict"]


async def test_what_a_stop_cuts_off_is_answered_if_it_can_be(admission, behind, stopping):
    requests = begin(admission, Exchange(), Exchange("/sessions/game/events"))
    await asyncio.sleep(0)
    stopping.begin()
    for request in requests:
        request.cancel()
    cut_off, stream = await asyncio.gather(*requests)
    assert cut_off.status == 503
    assert cut_off.problem["code"] == "draining"
    assert stream.sent == []


async def test_what_somebody_else_cancels_stays_cancelled(admission, behind):
    (running,) = begin(admission, Exchange())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


@pytest.mark.parametrize("make_leaving", [Leaving, lambda: None], ids=["told", "read"])
async def test_nothing_is_left_of_a_request_that_took_long(admission, behind, make_leaving):
    before = asyncio.all_tasks()
    exchange = Exchange(leaving=make_leaving())
    (running,) = begin(admission, exchange)
    await asyncio.sleep(0.15)
    behind.free.set()
    await running
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before
    # The connection goes on to the next request, which is the one that ends with it.
    (following,) = begin(admission, following_exchange := Exchange("/next", leaving=exchange.leaving))
    behind.free.clear()
    await asyncio.sleep(0.15)
    following_exchange.leave()
    await asyncio.wait_for(following, timeout=10)
    assert behind.cancelled == ["/next"]


async def test_a_request_that_fails_makes_room():
    async def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    admission = Admission(broken, Settings(max_requests=1), Stopping())
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await Exchange().through(admission)


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "soon", "1e3", "²", "0" * 30])
async def test_a_time_that_is_no_number_of_milliseconds_is_refused(admission, behind, value):
    refused = await Exchange(headers={"request-timeout-ms": value}).through(admission)
    assert refused.status == 422
    assert refused.problem["code"] == "bad_timeout"
    assert "Request-Timeout-Ms" in refused.problem["detail"]
    assert behind.running == []


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, 200),
        ({"request-timeout-ms": "40"}, 40),
        ({"request-timeout-ms": "1000"}, 200),
        ({"request-timeout-ms": "9" * 5000}, 200),
    ],
)
async def test_a_header_may_shorten_the_time_of_a_request_and_not_lengthen_it(headers, allowed):
    problems: list[DeadlinePassed] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(DeadlinePassed) as passed, within_deadline():
            await asyncio.sleep(60)
        assert asyncio.get_running_loop().time() - begun >= 0.9 * allowed / 1000
        problems.append(passed.value)

    admission = Admission(slow, Settings(request_timeout_ms=200), Stopping())
    await Exchange(headers=headers).through(admission)
    assert problems[0].extra == {"timeout_ms": allowed}


async def test_a_deadline_is_shared_by_all_that_a_task_does_after_it_began():
    begin_deadline(30)

    async def wait() -> None:
        with within_deadline():
            await asyncio.sleep(60)

    for work in (wait, lambda: asyncio.create_task(wait())):
        with pytest.raises(DeadlinePassed):
            await work()
    begin_deadline(60_000)
    with within_deadline():
        await asyncio.sleep(0.01)


async def test_a_task_without_a_deadline_has_all_the_time_it_needs():
    begin_deadline(1)
    begin_deadline(None)
    with within_deadline():
        await asyncio.sleep(0.05)


async def test_a_time_limit_of_somebody_else_is_not_taken_for_the_deadline():
    begin_deadline(60_000)
    with pytest.raises(TimeoutError), within_deadline():
        raise TimeoutError("the store's")


async def send(client: Client, path: str, body: Any, milliseconds: int) -> Any:
    return await client.post(path, json=body, headers={"request-timeout-ms": str(milliseconds)})


async def test_a_move_that_was_not_played_in_time_is_not_applied(client: Client):
    await client.ok("POST", "/sessions", {"session": "game", "model": "colours"})
    moves = ["red", "green"] * 500
    late = await send(client, "/sessions/game/moves", {"moves": moves, "ply": 0}, 1)
    assert late.status_code == 503
    assert late.json()["code"] == "deadline_passed"
    assert late.json()["timeout_ms"] == 1
    assert (await client.ok("GET", "/sessions/game"))["ply"] == 0
    assert (await send(client, "/sessions/game/moves", {"moves": moves, "ply": 0}, 60_000)).json()["ply"] == 1000


async def test_what_does_not_fit_into_the_queue_is_refused_and_not_applied(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
):
    begun, free, step = threading.Event(), threading.Event(), Engine.step

    def held(*arguments: Any) -> Any:
        begun.set()
        free.wait()
        return step(*arguments)

    monkeypatch.setattr("service.app.brief", lambda _: 0)
    async with serving(Settings(artifacts=artifacts, store="memory", max_queue=100)) as client:
        await client.ok("POST", "/sessions", {"session": "game", "model": "colours"})
        monkeypatch.setattr(Engine, "step", held)
        long = asyncio.create_task(predict_one(client, "colours", ["red"] * 100))
        await asyncio.to_thread(begun.wait)
        move = {"moves": ["red"], "ply": 0}
        refused = await client.post("/sessions/game/moves", json=move)
        free.set()
        problem = read_problem(refused)
        assert (problem["status"], problem["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) == -(-problem["retry_after_ms"] // 1000)
        assert (await long)["ply"] == 100
        assert (await client.ok("POST", "/sessions/game/moves", move))["ply"] == 1


async def test_a_service_that_is_slow_takes_no_more_than_it_is_likely_to_answer_soon(behind, stopping):
    few, soon = 4, 150
    settings = Settings(max_batch=few, max_requests=100, max_wait_ms=soon)
    admission = Admission(behind, settings, stopping)
    behind.free.set()
    for _ in range(20):
        await Exchange().through(admission)
    behind.free.clear()
    quick = begin(admission, *(Exchange() for _ in range(20)))
    await asyncio.sleep(0.05)
    assert len(behind.running) == 40
    behind.free.set()
    await asyncio.gather(*quick)
    behind.free.clear()
    behind.running.clear()
    slow = begin(admission, *(Exchange() for _ in range(20)))
    await asyncio.sleep(1)
    behind.free.set()
    statuses = [exchange.status for exchange in await asyncio.gather(*slow)]
    assert statuses == [200] * 20
    behind.free.clear()
    behind.running.clear()
    crowd = begin(admission, *(Exchange() for _ in range(20)))
    await asyncio.sleep(0.02)
    assert few <= len(behind.running) < 20
    behind.free.set()
    refused = [exchange for exchange in await asyncio.gather(*crowd) if exchange.status == 429]
    assert len(refused) == 20 - len(behind.running)
    assert all(exchange.problem["retry_after_ms"] > soon for exchange in refused)
