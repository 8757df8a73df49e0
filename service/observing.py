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
    from opentelemetry.trace import Span

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
        record = self.begin(scope)
        begin_timing(record)

        def with_headers(message: Message) -> Awaitable[None]:
            if message["type"] in ("http.response.start", "websocket.accept"):
                told = record.begin_answer(message.get("status", _SWITCHING))
                message["headers"] = [*message.get("headers", ()), *told]
            return send(message)

        try:
            await self._app(scope, receive, with_headers)
        finally:
            self.end(record)

    def begin(self, scope: Scope) -> "Record":
        """Begin the record of a request, which runs from here on."""
        record = Record(scope, self._id(scope))
        if self._traces is not None:
            record.span = self._traces.begin(scope, record)
        requests_running.value += 1
        return record

    def end(self, record: "Record") -> None:
        """End the record of a request that was answered, or never will be."""
        if not record.status:
            record.count(0)
        if self._access_log:
            record.log()
        if self._traces is not None and record.span is not None:
            self._traces.end(record.span, record, record.scope, template(record.scope), record.status)

    def _id(self, scope: Scope) -> bytes:
        """Give the id that a request came with, if it is fit for a header and a line of the log, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _ID.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._process, next(self._numbers))


class Record(Timing):
    """What is kept of a request until its answer is through."""

    status = 0
    """0 until its answer begins, and for good if the client left before."""
    seconds_to_answer = 0.0
    span: "Span | None" = None

    def __init__(self, scope: Scope, id_: bytes) -> None:
        """Begin with a request that nothing was done for."""
        super().__init__()
        self.request_id, self.path, self.scope = id_, scope["path"], scope
        self._begun = perf_counter()

    def begin_answer(self, status: int) -> list[tuple[bytes, bytes]]:
        """Count the request, and give the headers that tell its client of it."""
        headers = [(b"x-request-id", self.request_id)]
        took = self.server_timing()
        if took is not None:
            headers.append((b"server-timing", took))
        self.count(status)
        return headers

    def count(self, status: int) -> None:
        """Count the request when its answer begins, with ``status`` 0 if it never does."""
        self.status, self.seconds_to_answer = status, perf_counter() - self._begun
        requests_running.value -= 1
        method = self.scope.get("method", "GET")
        key = template(self.scope), method if method in _METHODS else "other", status // 100
        tally = _tallies.get(key)
        if tally is None:
            tally = _tallies[key] = request_seconds.of(key[0], key[1], _CLASSES[key[2]])
        tally.add(self.seconds_to_answer)

    def forget(self) -> None:
        """Count nothing: the request is begun anew."""
        requests_running.value -= 1

    def log(self) -> None:
        """Write a line about it, without what stands behind the question mark."""
        method, path = self.scope.get("method", "WS"), quote(self.scope["path"])
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
