"""Reads the answers of the parts in front and behind and gives those that are errors the form that the protocol has."""

from collections.abc import Awaitable

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem
from service.routes import ProblemJson

_PROBLEM = ProblemJson.media_type.encode()


class BadBody(Problem):
    """A body that is not JSON, or whose parts are not where its headers say."""

    status, code = 400, "malformed_body"


class NotReady(Problem):
    """A server or model that is not ready; the protocol wants a status of 4xx for that."""

    status, code = 400, "not_ready"


class CannotLoad(Problem):
    """A model that cannot be loaded, or not be unloaded, and why."""

    status, code = 409, "cannot_load"


class ErrorsOfV2:
    """An ASGI layer in front of all others: under ``/v2`` a problem is answered as ``{"error": "…"}``.

    So it does not matter who finds it: admission, the limit of bodies, a route, or that there is none. Status and
    headers stay as they are.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Take the application behind this layer."""
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request, or pass it on."""
        if scope["type"] == "http" and (scope["path"] == "/v2" or scope["path"].startswith("/v2/")):
            send = _Rewriting(send)
        return self._app(scope, receive, send)


class _Rewriting:
    """A way to send one answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and (b"content-type", _PROBLEM) in message["headers"]:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error(self._start)

    async def _send_error(self, start: Message) -> None:
        body = orjson.dumps({"error": orjson.loads(self._body)["detail"]})
        headers = [item for item in start["headers"] if item[0] not in (b"content-type", b"content-length")]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
