"""Reads any request and answers as a move is answered, at once: what is left is the work of the ASGI server."""

from collections.abc import Awaitable, Callable
from typing import Any

_BODY = (
    b'{"session":"s1042","model":{"name":"tokens","version":"1"},"ply":31,"surprisal":[7.613201],"next":['
    + b",".join(b'{"move":"t%d","probability":0.000612}' % number for number in range(5))
    + b"]}"
)
# As many headers as the service sends.
_HEADERS = [
    (b"content-length", b"%d" % len(_BODY)),
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-request-id", b"0d1f2a3b4c5d-1"),
    (b"server-timing", b"queue;dur=0.012, model;dur=0.105, store;dur=0.412"),
]


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Read the body, and answer."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
