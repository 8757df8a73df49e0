"""Reads HTTP requests as they come and lets in as many as the service can answer, each with a deadline.

The outermost layer: what is refused here costs next to nothing, and there is no queue that could grow.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from service.attention import Attention
from service.deadline import begin_deadline
from service.errors import BadTimeout, Overloaded, Problem
from service.limits import DIGITS
from service.pace import Pace
from service.routes import ProblemJson
from service.settings import Settings
from service.stopping import Stopping

_TIMEOUT = b"request-timeout-ms"
# Seconds after which it is worth the while to look after a request; most are through before.
_LATE = 0.05
AGAIN = 1.0
"""Seconds until a request that still runs is looked after once more."""


class Running(Protocol):
    """A request that was let in."""

    def look(self) -> None:
        """See, now and then, whether its client is still there and whether it has time: it takes long."""


class Admission:
    """An ASGI layer that answers 429 to what would wait for too long, and lets no request run for nobody.

    At most ``max_requests`` run, and beyond a full batch only so many as are likely to be through in ``max_wait_ms``,
    at the pace of the last second: a service that has become slower takes less, and what it takes it still answers.

    Probes, metrics, event streams and WebSockets pass as they are: the first two must be answered when nothing else
    is, the others live long.
    """

    def __init__(self, app: ASGIApp, settings: Settings, stopping: Stopping) -> None:
        """Take the application behind this layer."""
        self._app, self._stopping = app, stopping
        self._most, self._timeout = settings.max_requests, settings.request_timeout_ms
        # As many as one step takes wait for each other hardly at all, however long they are.
        self._few, self._longest_wait = min(settings.max_batch, self._most), settings.max_wait_ms
        self._running = 0
        self._pace, self._since = Pace(), 0.0
        self._new: set[Running] = set()
        self._older: set[Running] = set()
        self._late: set[Running] = set()
        self._again = 0.0
        self._round: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or _always_served(scope["path"]):
            await self._pass(scope, receive, send)
            return
        try:
            self.check_room()
            timeout = self.timeout(scope)
        except Problem as problem:
            await ProblemJson.of(problem)(scope, receive, send)
            return
        attention = Attention(receive, send, timeout)
        self.enter(attention)
        try:
            begin_deadline(timeout)
            await attention.run(self._app, scope, self._stopping)
        finally:
            self.leave(attention)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin_deadline(None)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping.begun:
                raise

    def check_room(self) -> None:
        """Pass if one more request may enter now; Overloaded if not."""
        if self._running >= self._few:
            wait = self._pace.milliseconds(self._running)
            if self._running >= self._most or wait > self._longest_wait:
                raise Overloaded(f"{self._running} requests run already", wait)

    def timeout(self, scope: Scope) -> int:
        """Give the milliseconds that a request may take; BadTimeout for a bad header."""
        for name, value in scope["headers"]:
            if name == _TIMEOUT:
                if not value.isdigit() or not (milliseconds := int(value[:DIGITS])):
                    raise BadTimeout("the header Request-Timeout-Ms is a whole number of milliseconds, at least 1")
                return min(milliseconds, self._timeout)
        return self._timeout

    def enter(self, request: Running) -> None:
        """Let a request run until it leaves."""
        if not self._running:
            self._since = time.monotonic()
        self._running += 1
        self._new.add(request)
        if self._round is None:
            self._round = asyncio.get_running_loop().call_later(_LATE, self._make_round)

    def leave(self, request: Running) -> None:
        """Make room, and learn the pace: the time between two ends, as long as anything runs."""
        self._new.discard(request)
        self._older.discard(request)
        self._late.discard(request)
        self._running -= 1
        now = time.monotonic()
        self._pace.add(1, now - self._since)
        self._since = now

    def _make_round(self) -> None:
        """Look after the requests that run since the last round; a timer for each would cost more than all the rest."""
        loop = asyncio.get_running_loop()
        late, self._older, self._new = self._older, self._new, set()
        self._late |= late
        if loop.time() >= self._again:
            late, self._again = set(self._late), loop.time() + AGAIN
        for request in late:
            # Whose client has left already leaves now.
            request.look()
        self._round = loop.call_later(_LATE, self._make_round) if self._older or self._late else None


def describe_timeout(paths: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell OpenAPI of the header that is read here, with every call that it holds for."""
    header = {
        "name": "Request-Timeout-Ms",
        "in": "header",
        "required": False,
        "description": "How many milliseconds the request may take; when they are over, nothing was applied.",
        "schema": {"type": "integer", "minimum": 1},
    }
    for path, calls in paths.items():
        for call in () if _always_served(path) else calls.values():
            call.setdefault("parameters", []).append(header)


def _always_served(path: str) -> bool:
    return path.startswith(("/health/", "/v2/health/")) or path == "/metrics" or path.endswith("/events")
