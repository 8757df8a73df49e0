"""Reads the key or token of a request and lets it in for what it may do; the first that looks at a request."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem
from service.routes import ProblemJson
from service.security.caller import Caller, begin_acting, end_acting
from service.security.failures import NotNamed, Unauthorized
from service.security.keys import Keys, digest_of
from service.security.table import OPEN, Table

# What a browser, which cannot set headers on a WebSocket, offers as a subprotocol beside the one that is spoken.
_KEY_AS_PROTOCOL = "nextply.key."
# Longer than most tokens; more would be read for nothing.
_LONGEST = 8192

FindToken = Callable[[bytes, bytes], Awaitable[Caller]]


class Gate:
    """An ASGI layer that answers 401 without a good key, 403 where it lacks the scope, 429 where it asks too often."""

    def __init__(self, app: ASGIApp, table: Table, keys: Keys | None, tokens: FindToken | None) -> None:
        """Take the application behind this layer, and who is let in to what; None where there are none such.

        ``tokens`` gives who a token is for, of the token and its SHA-256; Unauthorized if it is not good.
        """
        self._app, self._needed, self._tokens = app, table.needed, tokens
        self._find: Callable[[bytes], Caller | None] = keys.find if keys is not None else lambda _: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        needed = OPEN if scope["type"] == "lifespan" else self._needed(scope["path"])
        if needed == OPEN:
            await self._app(scope, receive, send)
            return
        try:
            given = _credential(scope)
            digest = digest_of(given)
            who = self._find(digest) or await self._by_token(given, digest)
            who.enter()
            if needed is None:
                raise NotNamed("Not Found")
            who.check(needed)
        except Problem as problem:
            await ProblemJson.of(problem)(scope, receive, send)
            return
        acting = begin_acting(who)
        try:
            await self._app(scope, receive, send)
        finally:
            end_acting(acting)

    def at_once(self, scope: Scope) -> Caller | None:
        """Give who asks, if nothing keeps that caller from it; None if that is not to be said at once, or not so."""
        try:
            who, needed = self._find(digest_of(_credential(scope))), self._needed(scope["path"])
        except Unauthorized:
            return None
        # What has a rate may be let in once for each request.
        if who is None or who.rate is not None or who.over() or not needed or who.scopes.isdisjoint(needed):
            return None
        return who

    async def _by_token(self, given: bytes, digest: bytes) -> Caller:
        if self._tokens is None or given.count(b".") != 2 or len(given) > _LONGEST:
            raise Unauthorized("the key is not known here")
        return await self._tokens(given, digest)


def _credential(scope: Scope) -> bytes:
    """Give the key or token of a request; Unauthorized if there is none."""
    protocol = _take_from_protocols(scope) if scope["type"] == "websocket" else None
    for name, value in scope["headers"]:
        if name == b"authorization":
            return _bearer(value)
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return bytes(value)
    if protocol is None:
        how = "send it in the header, Authorization: Bearer KEY"
        raise Unauthorized(f"this service wants a key: {how}", invalid=False)
    return protocol


def _bearer(value: bytes) -> bytes:
    if value.startswith(b"Bearer "):
        return value[7:].strip()
    kind, _, given = value.partition(b" ")
    if kind.lower() != b"bearer":
        raise Unauthorized("the header Authorization has to be: Bearer KEY")
    return given.strip()


def _take_from_protocols(scope: Scope) -> bytes | None:
    """Give the key among the subprotocols that a WebSocket offers, which then is none of them any more."""
    keys = [one for one in scope["subprotocols"] if one.startswith(_KEY_AS_PROTOCOL)]
    scope["subprotocols"] = [one for one in scope["subprotocols"] if one not in keys]
    return keys[0].removeprefix(_KEY_AS_PROTOCOL).encode() if keys else None
