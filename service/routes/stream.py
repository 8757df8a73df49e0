"""Reads moves from WebSockets and gives what comes next: one session a connection, or many."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect

from service import requests
from service.deadline import begin_deadline
from service.errors import Overloaded, Problem, SessionExpired, UnknownSession, problem
from service.history import History
from service.keeper import Keeper
from service.names import shown
from service.predictor import Predictor
from service.security.caller import caller
from service.security.failures import Unauthorized
from service.settings import Settings
from service.stopping import Stopping
from service.streams.messages import Ask, Get, Message, Peek, Ping, Play, Takeback, read_message
from service.streams.places import Places

_log = logging.getLogger("nextply")
_ID: TypeAdapter[str] = TypeAdapter(requests.SessionId)
# What a client may offer as a subprotocol; keys go beside it, since browsers cannot set headers on WebSockets.
PROTOCOL = "nextply"
# Messages of one connection that are read and not answered yet. The next ones stay in the network's buffers.
_IN_WORK = 64
_REASON_BYTES = 123
# What a send raises, the first and the ones after it, when the client has left.
_GONE = (WebSocketDisconnect, RuntimeError)


class _Close(NamedTuple):
    code: int
    reason: str


_STOPPING = _Close(1012, "the service is stopping; connect again")
_BUG = _Close(1011, "something went wrong in the service; its log says what")
_NO_TEXT = _Close(1007, "a message is JSON in a text frame")


def stream_routes(
    predictor: Predictor, history: History, keeper: Keeper, places: Places, stopping: Stopping, settings: Settings
) -> APIRouter:
    """Make the routes of WebSockets, which OpenAPI cannot describe: docs/streams.md does."""
    router = APIRouter()

    async def answer(message: Message) -> Mapping[str, Any]:
        if isinstance(message.ask, Ping):
            return {"pong": message.ask.ping}
        if isinstance(message.ask, Problem):
            raise message.ask
        assert message.session is not None
        return await _do(predictor, history, message.session, message.ask)

    async def converse(socket: WebSocket, session: str | None) -> _Close | None:
        try:
            if session is not None:
                session = await _there(keeper, session)
            return await _Stream(socket, session, answer, settings).run(stopping)
        except Problem as refused:
            return _Close(4404 if refused.status == 404 else 1013, refused.detail)
        except Exception:
            _log.exception("a WebSocket failed")
            return _BUG

    async def serve(socket: WebSocket, session: str | None) -> None:
        # A browser learns nothing of a handshake that is refused, but sees why an open connection is closed.
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        try:
            with places.taken():
                await _close(socket, await converse(socket, session))
        except Overloaded as full:
            await _close(socket, _Close(1013, full.detail))

    @router.websocket("/sessions/{session}/stream")
    async def one_session(socket: WebSocket, session: str) -> None:
        await serve(socket, session)

    @router.websocket("/stream")
    async def many_sessions(socket: WebSocket) -> None:
        await serve(socket, None)

    return router


async def _do(predictor: Predictor, history: History, session: str, ask: Ask) -> Mapping[str, Any]:
    match ask:
        case Play():
            return await predictor.play(session, ask)
        case Peek():
            return await predictor.peek(session, ask)
        case Takeback():
            return await history.takeback(session, ask)
        case Get():
            return await predictor.get(session, ask.top_k)
    raise AssertionError(ask)


async def _there(keeper: Keeper, name: str) -> str:
    """Give the id of a session that is there."""
    try:
        session = _ID.validate_python(name)
    except ValidationError:
        raise UnknownSession("no session can have such a name") from None
    await keeper.load(session)
    return session


async def _close(socket: WebSocket, close: _Close | None) -> None:
    """Say goodbye, if anybody is there to hear it; the reason is cut to what a close frame can hold."""
    if close is not None:
        with suppress(*_GONE):
            await socket.close(close.code, close.reason.encode()[:_REASON_BYTES].decode(errors="ignore"))


class _Stream:
    """One open connection: messages of one session are worked on one after another, those of different ones at once."""

    def __init__(
        self,
        socket: WebSocket,
        session: str | None,
        answer: Callable[[Message], Awaitable[Mapping[str, Any]]],
        settings: Settings,
    ) -> None:
        self._socket, self._session, self._answer, self._settings = socket, session, answer, settings
        self._room = asyncio.Semaphore(_IN_WORK)
        self._work: set[asyncio.Task[None]] = set()
        self._last: dict[str | None, asyncio.Task[None]] = {}
        """Of each session the message that came last and is in work."""
        self._ended: asyncio.Future[_Close | None] = asyncio.get_running_loop().create_future()

    async def run(self, stopping: Stopping) -> _Close | None:
        """Answer messages until one side ends it; give how to close, None if the client has left.

        What was read is answered before, unless nobody is there to hear it.
        """
        reading = asyncio.create_task(self._read())
        stopped = asyncio.create_task(stopping.wait())
        try:
            ends: set[asyncio.Future[Any]] = {reading, stopped, self._ended}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            close = _STOPPING if stopped.done() else (self._ended if self._ended.done() else reading).result()
            reading.cancel()
            if close is not None and self._work:
                await asyncio.wait(self._work)
            return close
        finally:
            tasks = {reading, stopped, *self._work}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, close: _Close | None) -> None:
        if not self._ended.done():
            self._ended.set_result(close)

    async def _read(self) -> _Close | None:
        """Take messages, and give how to close once there are none to be taken any more."""
        while True:
            await self._room.acquire()
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return None
            text = received.get("text")
            if text is None:
                return _NO_TEXT
            try:
                self._take(read_message(text, self._session, self._settings))
            except ValueError as error:
                return _Close(1007, f"a message is JSON: {error}")

    def _take(self, message: Message) -> None:
        before = self._last.get(message.session) if message.session else None
        task = asyncio.create_task(self._work_on(message, before))
        self._work.add(task)
        self._last[message.session] = task
        task.add_done_callback(lambda _: self._leave(message, task))

    def _leave(self, message: Message, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._work.discard(task)
        if self._last.get(message.session) is task:
            del self._last[message.session]

    async def _work_on(self, message: Message, before: asyncio.Task[None] | None) -> None:
        begin_deadline(self._settings.request_timeout_ms)
        if before is not None:
            await asyncio.wait([before])
        written = orjson.dumps(await self._result(message)).decode()
        try:
            await self._socket.send_text(written)
        except _GONE:
            self._end(None)

    async def _result(self, message: Message) -> dict[str, Any]:
        about = {"session": message.session and shown(message.session), "tag": message.tag}
        about = {name: value for name, value in about.items() if value is not None}
        try:
            # Who sends ahead waits for its rate, as it waits for its answers.
            if pause := caller().enter(self._settings.request_timeout_ms / 1000):
                await asyncio.sleep(pause)
            return {**about, **await self._answer(message)}
        except Problem as error:
            if error.__cause__ is not None:
                _log.error("%s", error, exc_info=error.__cause__)
            if self._session is not None and isinstance(error, UnknownSession | SessionExpired):
                self._end(_Close(4404, error.detail))
            if isinstance(error, Unauthorized):
                self._end(_Close(4401, error.detail))
            return {**about, "problem": error.body()}
        except Exception:
            _log.exception("a message of a WebSocket could not be answered")
            self._end(_BUG)
            return {**about, "problem": problem(500, "internal_error", _BUG.reason)}
