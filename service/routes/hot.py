"""Reads the requests that come most often and answers them without FastAPI, which would take longer than all the rest.

The routes are FastAPI's all the same: it describes them, and it gets every request that is not quite as described, to
say what is wrong. So nothing is decided here that is not decided there.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import requests
from service.limits import DIGITS, count_members, too_many_members
from service.predictor import Predictor
from service.routes import failures
from service.security.caller import kept
from service.settings import Settings

MOVES, OF_MOVES = re.compile(r"/sessions/([A-Za-z0-9._:~-]{1,128})/moves"), "/sessions/{session}/moves"
"""The addresses of moves, and the name that FastAPI has for them."""

Answer = Callable[[Any], Awaitable[Mapping[str, Any]]]


class HotRoutes:
    """An ASGI layer that plays moves, in one session or in many, and predicts."""

    def __init__(self, app: ASGIApp, predictor: Predictor, settings: Settings) -> None:
        """Take the application behind this layer, and how much a body may hold."""
        self._app, self._predictor, self._limit, self._settings = app, predictor, settings.max_body, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        found = self._find(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None or not is_plain(scope, self._limit):
            await self._app(scope, receive, send)
            return
        read: list[Message] = [await receive()]
        while read[-1].get("more_body", False):
            read.append(await receive())
        kind, answer, scope["template"] = found
        content = b"".join(message.get("body", b"") for message in read)
        try:
            request = None if self._is_odd(content) else kind.model_validate_json(content)
        except ValidationError:
            request = None
        if request is None:
            await self._app(scope, _again(read, receive), send)
            return
        try:
            body = orjson.dumps(await answer(request))
        except Exception as error:
            await failures.of_failure(error, scope["path"])(scope, receive, send)
        else:
            headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _find(self, path: str) -> tuple[type[requests.Request], Answer, str] | None:
        """Give what a request to a path looks like, what answers it, and the name that FastAPI has for it."""
        if moves := MOVES.fullmatch(path):
            return requests.MovesRequest, partial(self._predictor.play, kept(moves[1])), OF_MOVES
        if path == "/steps":
            return requests.StepsRequest, self._predictor.steps, path
        if path == "/predict":
            return requests.PredictRequest, self._predictor.predict, path
        return None

    def _is_odd(self, content: bytes) -> bool:
        return too_many_members(count_members(content), self._settings)


def is_plain(scope: Scope, longest: int) -> bool:
    """Say whether a body is JSON and declared to be of no more bytes than ``longest``."""
    json, length = False, longest + 1
    for name, value in scope["headers"]:
        if name == b"content-type":
            json = value == b"application/json"
        elif name == b"content-length" and value.isdigit():
            length = int(value[:DIGITS])
    return json and length <= longest


def _again(read: list[Message], receive: Receive) -> Receive:
    """Give messages that were read once more, and what comes after them."""
    left = iter(read)

    async def received() -> Message:
        message = next(left, None)
        return await receive() if message is None else message

    return received
