"""Reads every request before all other layers do, names it, counts it, and tells with its answer where time went."""

import logging
import re
import secrets
from collections.abc import Awaitable
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Tally, request_seconds, requests_running
from service.timing import Timing, begin_timing

if TYPE_CHECKING:
    from service.tracing import Traces

_log = logging.getLogger("nextply.access")
_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# How statuses are counted; none if the client left before there was an answer.
_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_SWITCHING = 101


class Observed:
    """The outermost ASGI layer; what only some want, lines of the log and traces, costs the others nothing."""

    def __init__(self, app: ASGIApp, *, access_log: bool = False, traces: "Traces | None" = None) -> None:
        """Take the application behind this layer, whether to log every request, and where traces go."""
        self._app, self._access_log, self._traces = app, access_log, traces
        self._process, self._numbers = secrets.token_hex(6).encode(), count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send, self._id(scope))
        begin_timing(request)
        span = None if self._traces is None else self._traces.begin(scope, request)
        requests_running.value += 1
        try:
            await self._app(scope, receive, request.send)
        finally:
            if not request.status:
                request.count(0)
            if self._access_log:
                request.log()
            if self._traces is not None and span is not None:
                self._traces.end(span, request, scope, template(scope), request.status)

    def _id(self, scope: Scope) -> bytes:
        """Give the id that a request came with, if it is fit for a header and a line of the log, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _ID.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._process, next(self._numbers))


class _Request(Timing):
    """A request, and its answer on the way."""

    status = 0
    seconds_to_answer = 0.0

    def __init__(self, scope: Scope, send: Send, id_: bytes) -> None:
        super().__init__()
        self.request_id, self.path, self._scope, self._send = id_, scope["path"], scope, send
        self._begun = perf_counter()

    def send(self, message: Message) -> Awaitable[None]:
        """Send what the layers behind give, with what is told of it in the headers."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.accept"):
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
            took = self.server_timing()
            if took is not None:
                headers.append((b"server-timing", took))
            message["headers"] = headers
            self.count(message.get("status", _SWITCHING))
        return self._send(message)

    def count(self, status: int) -> None:
        """Count the request when its answer begins, with ``status`` 0 if it never does."""
        self.status, self.seconds_to_answer = status, perf_counter() - self._begun
        requests_running.value -= 1
        method = self._scope.get("method", "GET")
        key = template(self._scope), method if method in _METHODS else "other", status // 100
        tally = _tallies.get(key)
        if tally is None:
            tally = _tallies[key] = request_seconds.of(key[0], key[1], _CLASSES[key[2]])
        tally.add(self.seconds_to_answer)

    def log(self) -> None:
        """Write a line about it, without what stands behind the question mark."""
        method, path = self._scope.get("method", "WS"), quote(self._scope["path"])
        took = round(self.seconds_to_answer * 1000, 3)
        about = {"method": method, "path": path, "status": self.status, "milliseconds": took}
        _log.info("%s %s %d in %.1f ms", method, path, self.status, took, extra=about)


_tallies: dict[tuple[str, str, int], Tally] = {}


def template(scope: Scope) -> str:
    """Give the path of a request as its route has it, with names in place of ids; none if no route was found."""
    found: str | None = scope.get("template")
    if found is None:
        found = getattr(scope.get("route"), "path", "none")
    return found
