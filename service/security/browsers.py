"""Tells browsers what they may do with answers, and lets pages of other origins in only where that is set up."""

from collections.abc import Awaitable, Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.routes import ProblemJson
from service.security.failures import ForeignPage

_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
# What is answered is for who asked, now; it is data, so a browser that is led to show it may load and frame nothing.
DATA = [
    *_ALWAYS,
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
# The pages that people look at bring scripts.
_PAGE = [*_ALWAYS, (b"content-security-policy", b"frame-ancestors 'none'")]
_PAGES = ("/docs", "/redoc", "/docs/oauth2-redirect")

_READING = ("GET", "HEAD", "OPTIONS")
_METHODS = ["GET", "POST", "PUT", "DELETE"]
_SENT = ["Authorization", "X-API-Key", "Content-Type", "Request-Timeout-Ms", "X-Request-Id", "Traceparent"]
_SHOWN = ["Location", "Retry-After", "Server-Timing", "X-Request-Id"]


class Browsers:
    """An ASGI layer that adds headers to every answer, and refuses what a foreign page would change or connect to.

    Browsers keep such a page from reading answers, and still let it send requests and open WebSockets.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """Take the application behind this layer, and the origins whose pages may connect."""
        self._app, self._origins = app, origins

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            return self._app(scope, receive, send)
        if (scope["type"] == "websocket" or scope["method"] not in _READING) and self._is_foreign(scope):
            foreign = ForeignPage("pages of this origin may not do this; the setting cors_origins names those that may")
            return ProblemJson.of(foreign)(scope, receive, send)
        if scope["type"] == "websocket":
            return self._app(scope, receive, send)
        headers = _PAGE if scope["path"] in _PAGES else DATA

        def with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            return send(message)

        return self._app(scope, receive, with_headers)

    def _is_foreign(self, scope: Scope) -> bool:
        """Say whether a page asks that is neither of the service itself nor of an origin that is named."""
        if not any(name == b"origin" for name, _ in scope["headers"]):
            return False
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers[b"origin"].decode("latin-1")
        if origin in self._origins or "*" in self._origins:
            return False
        if headers.get(b"sec-fetch-site") == b"same-origin":
            # A proxy may have changed the host; what the browser says here, no page can.
            return False
        return origin.partition("://")[2].lower() != headers.get(b"host", b"").decode("latin-1").lower()


def with_cors(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    """Let pages of other origins call; no cookies are taken, so a page can send no key that it does not have."""
    return CORSMiddleware(
        app, allow_origins=list(origins), allow_methods=_METHODS, allow_headers=_SENT, expose_headers=_SHOWN
    )
