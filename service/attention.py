"""Reads along with a running request and ends it when nobody waits for its answer any more, or its body never ends."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.errors import Problem, SlowBody
from service.routes import ProblemJson
from service.stopping import Stopping, cut_off

# By this name the state of a scope has the ``Leaving`` of its connection, where the server gives one.
LEAVING = "nextply.leaving"


class Leaving:
    """Whether the client of a connection has left, for who wants to be told: a task that waits for it costs more."""

    def __init__(self) -> None:
        """Begin with a client that is there."""
        self._left = False
        self._told: set[Callable[[], None]] = set()

    def tell(self, call: Callable[[], None]) -> None:
        """Let somebody be called when the client leaves; at once if it has."""
        if self._left:
            call()
        else:
            self._told.add(call)

    def forget(self, call: Callable[[], None]) -> None:
        """Let somebody not be called any more."""
        self._told.discard(call)

    def left(self) -> None:
        """Tell everybody that the client has left."""
        self._left = True
        while self._told:
            self._told.pop()()


class Attention:
    """One request, in the task that answers it; it costs next to nothing before somebody calls ``look``.

    Ending it is cancelling its task: what waits in a queue leaves it, a commit that has begun is finished by others.
    """

    _answered = _hears = _late = _left = _reading = _slow = False
    _leaving: Leaving | None = None
    _watch: asyncio.Task[None] | None = None
    _body_timer: asyncio.TimerHandle | None = None

    def __init__(self, receive: Receive, send: Send, timeout: int) -> None:
        """Take the server's side, and in how many milliseconds from now the body has to be there."""
        self._receive, self._send, self._timeout = receive, send, timeout
        self._begun = asyncio.get_running_loop().time()

    async def run(self, app: ASGIApp, scope: Scope, stopping: Stopping) -> None:
        """Run the request to its end, or answer why it has none; a client that left gets no answer."""
        self._task = asyncio.current_task()
        self._leaving = scope.get("state", {}).get(LEAVING)
        try:
            await app(scope, self._read, self._write)
        except asyncio.CancelledError:
            problem = self._problem(stopping)
            if problem is None and not self._left:
                raise
            assert self._task is not None
            self._task.uncancel()
            if problem is not None and not self._answered:
                await ProblemJson.of(problem)(scope, self._receive, self._send)
        finally:
            if self._late:
                self._look_away()

    def look(self) -> None:
        """Begin to look after a request that takes long: for its body, then for its client."""
        if self._late:
            return
        self._late = True
        if self._reading:
            until = self._begun + self._timeout / 1000
            self._body_timer = asyncio.get_running_loop().call_at(until, self._end_slow)
        else:
            self._look_after_client()

    def _look_after_client(self) -> None:
        if self._leaving is not None and self._hears:
            self._leaving.tell(self._end_if_left)
        elif self._watch is None:
            # Also reads what the application has not begun to read by now: it does not want it.
            self._watch = asyncio.create_task(self._end_when_left())

    def _look_away(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
        if self._leaving is not None:
            self._leaving.forget(self._end_if_left)
        if self._watch is not None:
            self._watch.cancel()

    async def _read(self) -> Message:
        self._reading = True
        message = await self._receive()
        self._reading = message.get("more_body", False)
        # Behind a large part of a body uvicorn reads on only if it is asked for more.
        self._hears = not self._reading and len(message.get("body", b"")) <= HIGH_WATER_LIMIT
        if self._late and not self._reading and self._watch is None:
            self._look_away()
            self._look_after_client()
        return message

    def _write(self, message: Message) -> Awaitable[None]:
        self._answered = True
        return self._send(message)

    async def _end_when_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end_if_left()

    def _end_if_left(self) -> None:
        # A server says the same when an answer is through.
        if not self._answered:
            self._left = True
            self._end()

    def _end_slow(self) -> None:
        self._slow = True
        self._end()

    def _end(self) -> None:
        assert self._task is not None
        self._task.cancel()

    def _problem(self, stopping: Stopping) -> Problem | None:
        """Say why a request was cancelled, if the reason is here or the service's end."""
        if self._slow:
            return SlowBody(f"the body did not arrive within {self._timeout} ms")
        if stopping.begun and not self._left:
            return cut_off()
        return None
