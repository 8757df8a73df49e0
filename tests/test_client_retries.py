"""Answers that are lost on their way, and what passes: nothing is doubled, nothing is lost, and there is an end."""

import asyncio
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nextply_client import AsyncClient, Client, Step, errors
from nextply_client.answers import Played
from nextply_client.calls import Calls
from nextply_client.http import Answer, Request, Send, Wait, sent
from nextply_client.retries import Retries
from nextply_client.sockets import connect_options
from nextply_client.streaming import Connect, Hear, Say, StreamCalls, socket_failure
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from service.settings import Settings
from tests.serving import Process

AT_ONCE = Retries(first=0, longest=0)
REQUEST = Request("GET", "/models")


class Losing(httpx.HTTPTransport):
    """Carries out requests, and loses the answers of those that change something: the first one of each."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        name = f"{request.method} {request.url.path} {request.content!r}"
        if request.method == "GET" or request.url.path == "/predict" or name in self.lost:
            return response
        response.read()
        response.close()
        self.lost.append(name)
        raise httpx.ReadError("the answer was lost", request=request)


class LosingAsync(httpx.AsyncHTTPTransport):
    """Loses the first answer of every move."""

    lost = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        self.lost += 1
        if self.lost % 2:
            await response.aread()
            await response.aclose()
            raise httpx.RemoteProtocolError("the answer was lost", request=request)
        return response


@pytest.fixture(scope="module")
def process(artifacts: Path) -> Iterator[Process]:
    with Process(Settings(artifacts=artifacts, store="memory")) as process:
        yield process


@pytest.fixture
def losing(process: Process) -> Iterator[Client]:
    transport = Losing()
    with Client(process.url, retries=AT_ONCE, transport=transport) as client:
        yield client
    assert transport.lost


def test_moves_whose_answers_are_lost_are_played_once(losing: Client):
    game = losing.open(moves="e4", context={"white_elo": 1500, "black_elo": None})
    for move in ("e5", "Nf3", "Nc6", "Bb5"):
        game.play(move)
    game.takeback()
    assert game.play("Bc4").ply == 5
    assert game.get().moves == ["e2e4", "e7e5", "g1f3", "b8c6", "f1c4"]


def test_async_moves_whose_answers_are_lost_are_played_once(process: Process):
    async def play() -> list[str]:
        transport = LosingAsync()
        async with AsyncClient(process.url, retries=AT_ONCE, transport=transport) as client:
            game = await client.open()
            for move in ("e4", "e5", "Nf3"):
                await game.play(move)
            return (await game.get()).moves

    assert asyncio.run(play()) == ["e2e4", "e7e5", "g1f3"]


def test_sessions_whose_answers_are_lost_are_made_once(losing: Client):
    game = losing.open("named-1", moves="1. e4 e5")
    fork = game.fork(1, into="named-2")
    whole = losing.fork("named-1", into="named-3")
    assert (fork.ply, whole.ply) == (1, 2)
    assert losing.import_state("named-4", game.export_state()).ply == 2
    names = [f"named-{number}" for number in range(1, 5)]
    assert sorted(one.session for one in losing.sessions(prefix="named-")) == names
    for name in names:
        losing.delete(name)
    assert not list(losing.sessions(prefix="named-"))


@pytest.mark.parametrize(
    "theirs",
    [
        {"moves": "d4"},
        {"moves": "e4 e5"},
        {"moves": "e4", "context": {"white_elo": 1500}},
        {"moves": "e4", "model": "chess-fp32"},
    ],
)
def test_a_session_of_somebody_else_is_not_taken_for_ones_own(losing: Client, process: Process, theirs: dict[str, Any]):
    with Client(process.url) as other:
        other.open("theirs", **theirs)
        with pytest.raises(errors.SessionExists):
            losing.open("theirs", moves="e4", model="chess")
        with pytest.raises(errors.SessionExists):
            losing.fork(other.open().id, into="theirs")
        other.delete("theirs")


def test_steps_whose_answer_is_lost_are_taken_once(losing: Client):
    games = [losing.open() for _ in range(3)]
    for ply, move in enumerate(("e4", "e5")):
        results = losing.steps(Step(game.id, move, ply) for game in games)
        assert [isinstance(result, Played) and result.ply for result in results] == [ply + 1] * 3
    assert [game.get().ply for game in games] == [2] * 3


def played(session: str, ply: int) -> dict[str, Any]:
    model = {"name": "chess", "version": "1"}
    return {"session": session, "model": model, "ply": ply, "surprisal": [1.0], "next": []}


def failed(status: int, code: str, session: str = "a", **members: Any) -> dict[str, Any]:
    return {"session": session, "problem": {"status": status, "code": code, "detail": "no", **members}}


def body_of(effect: Any) -> Any:
    assert isinstance(effect, Send)
    return effect.request.body


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps(body).encode())


def test_steps_that_failed_for_a_while_are_taken_again_with_what_followed_them():
    flow = Calls(AT_ONCE, 30).steps([Step("a", "e4", 0), Step("b", "e4", 0), Step("a", "e5", 1), Step("c", "e4", 0)])
    assert len(body_of(next(flow))["steps"]) == 4
    results = [failed(503, "store_failed"), played("b", 1), failed(409, "ply_conflict"), failed(422, "bad_move", "c")]
    assert isinstance(flow.send(answer({"results": results})), Wait)
    again = body_of(flow.send(None))["steps"]
    assert [(step["session"], step["ply"]) for step in again] == [("a", 0), ("a", 1)]
    with pytest.raises(StopIteration) as end:
        flow.send(answer({"results": [played("a", 1), played("a", 2)]}))
    one, other, behind, refused = end.value.value
    assert [one.ply, other.ply, behind.ply] == [1, 1, 2]
    assert isinstance(refused, errors.BadMove)


def test_steps_end_with_the_problem_when_they_were_sent_often_enough():
    flow = Calls(Retries(attempts=1), 30).steps([Step("a", "e4", 0)])
    next(flow)
    with pytest.raises(StopIteration) as end:
        flow.send(answer({"results": [failed(503, "store_failed")]}))
    assert isinstance(end.value.value[0], errors.Unavailable)


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, {"code": "overloaded", "retry_after_ms": 2500}, {"retry-after": "3"}, 2.5),
        (429, {"code": "overloaded"}, {"retry-after": "3"}, 3),
        (503, {"code": "draining"}, {}, 0),
        (503, {"code": "deadline_passed"}, {}, 0),
        (502, "<html>bad gateway</html>", {}, 0),
    ],
)
def test_what_passes_is_waited_for(status: int, body: Any, headers: dict[str, str], seconds: float):
    flow = sent(REQUEST, Retries(first=0.05), 30)
    next(flow)
    wait = flow.send(answer(body, status, **headers))
    assert isinstance(wait, Wait)
    assert max(seconds, 0.025) <= wait.seconds <= 1.25 * seconds + 0.05
    assert isinstance(flow.send(None), Send)
    with pytest.raises(StopIteration) as end:
        flow.send(answer({}))
    assert end.value.value.content == b"{}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.TooLarge),
        (422, errors.InvalidRequest),
        (500, errors.ServiceFailed),
        (599, errors.ServiceFailed),
    ],
)
def test_what_does_not_pass_is_raised_at_once(status: int, kind: type[errors.Problem]):
    flow = sent(REQUEST, Retries(), 30)
    next(flow)
    with pytest.raises(kind) as caught:
        flow.send(answer("what?", status))
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code) == (status, f"http_{status}")
    assert pickle.loads(pickle.dumps(caught.value)).status == status


def test_waits_grow_and_the_last_failure_is_raised():
    told: list[float] = []
    retries = Retries(attempts=6, first=0.1, longest=0.5, told=lambda _, seconds: told.append(seconds))
    flow = sent(REQUEST, retries, 30)
    next(flow)
    for number, longest in enumerate((0.1, 0.2, 0.4, 0.5, 0.5)):
        wait = flow.throw(errors.Unreachable("gone"))
        assert longest / 2 <= wait.seconds <= longest
        assert told[number] == wait.seconds
        assert isinstance(flow.send(None), Send)
    with pytest.raises(errors.Unreachable) as caught:
        flow.throw(errors.Unreachable("gone"))
    assert caught.value.attempts == 6


def test_no_attempt_begins_after_the_total_time_and_none_takes_longer():
    flow = sent(REQUEST, Retries(total=5), 30)
    assert 4.5 < next(flow).timeout <= 5
    with pytest.raises(errors.Overloaded):
        flow.send(answer({"code": "overloaded", "retry_after_ms": 6000}, 429))


@pytest.mark.parametrize("total", [0.2, 20])
def test_the_service_is_told_how_long_an_attempt_may_take(total: float):
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"models": []})

    seen: list[httpx.Request] = []
    transport = httpx.MockTransport(handle)
    with Client(
        "http://service/base", key="secret", timeout=1.5, retries=Retries(total=total), transport=transport
    ) as client:
        assert client.models() == []
    assert 0.8 * min(total, 1.5) < int(seen[0].headers["request-timeout-ms"]) / 1000 <= min(total, 1.5)
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].url == "http://service/base/models"


def test_a_stream_is_where_the_service_is_and_shows_the_key():
    options = connect_options(httpx.URL("https://host:1/base/"), {"authorization": "Bearer x", "host": "other"})
    assert options["uri"] == "wss://host:1/base/stream"
    assert options["additional_headers"] == {"authorization": "Bearer x"}
    assert connect_options(httpx.URL("http://host"), {})["uri"] == "ws://host/stream"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"model": 3, "predictions": [1]}'])
def test_an_answer_of_something_else_is_told_apart(content: bytes):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    with Client("http://service", transport=transport) as client:
        with pytest.raises(errors.BadAnswer):
            client.predict("e4")
        with pytest.raises(errors.BadAnswer):
            next(client.events("game"))


def after_connecting(stream: StreamCalls, *plies: int) -> Any:
    """Send a move at each ply, and give the flow that waits for an answer, at the moment when it hears."""
    for ply in plies:
        list(effects_of(stream.send("a", "e4", ply=ply)))
    flow = stream.receive()
    assert isinstance(next(flow), Hear)
    return flow


def effects_of(flow: Any) -> Iterator[Any]:
    """Give the effects of a flow that all come to nothing."""
    yield from flow


def test_a_stream_sends_again_what_a_break_left_unanswered():
    stream = StreamCalls(AT_ONCE, 30)
    flow = after_connecting(stream, 0, 1, 2)
    with pytest.raises(StopIteration) as end:
        flow.send(json.dumps({**played("a", 1), "tag": 1}))
    assert end.value.value.ply == 1
    flow = stream.receive()
    assert isinstance(next(flow), Hear)
    assert isinstance(flow.throw(errors.Unreachable("gone")), Wait)
    assert isinstance(flow.send(None), Connect)
    said = [json.loads(flow.send(None).text) for _ in range(2)]
    assert [(one["ply"], one["tag"]) for one in said] == [(1, 2), (2, 3)]
    assert isinstance(flow.send(None), Hear)


@pytest.mark.parametrize("status", [429, 503])
def test_a_stream_sends_again_what_was_refused_for_a_while_and_what_followed_it(status: int):
    stream = StreamCalls(AT_ONCE, 30)
    flow = after_connecting(stream, 0, 1)
    wait = flow.send(json.dumps({**failed(status, "x", retry_after_ms=500), "tag": 1}))
    assert isinstance(wait, Wait)
    assert wait.seconds >= 0.5
    effects = [flow.send(None) for _ in range(4)]
    assert [type(effect) for effect in effects] == [Connect, Say, Say, Hear]
    assert stream.expected == 2


@pytest.mark.parametrize(
    ("error", "kind", "passes"),
    [
        (InvalidStatus(Response(401, "", Headers(), b'{"code": "no_key"}')), errors.Unauthorized, False),
        (InvalidStatus(Response(503, "", Headers({"Retry-After": "2"}), b"")), errors.Unavailable, True),
        (ConnectionClosedError(Close(1012, "restart"), None), errors.Unreachable, True),
        (ConnectionClosedError(None, None), errors.Unreachable, True),
        (ConnectionClosedError(Close(4401, "key"), None), errors.StreamClosed, False),
        (TimeoutError(), errors.Unreachable, True),
    ],
)
def test_why_there_is_no_stream(error: Exception, kind: type[errors.NextplyError], passes: bool):
    failure = socket_failure(error)
    assert (type(failure), failure.passing) == (kind, passes)
    assert failure.retry_after == (2 if kind is errors.Unavailable else None)
    assert str(failure)


def test_a_stream_gives_up_in_the_end():
    stream = StreamCalls(Retries(attempts=2), 30)
    flow = after_connecting(stream, 0)
    assert isinstance(flow.throw(errors.Unreachable("gone")), Wait)
    assert isinstance(flow.send(None), Connect)
    with pytest.raises(errors.Unreachable):
        flow.throw(errors.Unreachable("gone"))


def test_a_stream_is_not_read_less_than_it_is_written():
    stream = StreamCalls(AT_ONCE, 30)
    heard = iter(range(1, 100))
    said = []
    for ply in range(70):
        flow: Any = stream.send("a", "e4", ply=ply)
        effect = next(flow, None)
        while effect is not None:
            if isinstance(effect, Say):
                said.append(effect.text)
            tag = next(heard) if isinstance(effect, Hear) else None
            try:
                effect = flow.send(None if tag is None else json.dumps({**played("a", tag), "tag": tag}))
            except StopIteration:
                effect = None
    assert len(said) == stream.expected == 70
    assert next(heard) == 8
