"""Reads requests and refuses those that hold more than the settings allow: bodies as they arrive, then their moves."""

from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge
from service.routes import ProblemJson
from service.settings import Settings

# More digits than any limit has; Python refuses to read a number of thousands.
DIGITS = 20


class BodyLimit:
    """An ASGI layer that answers 413 to bodies of more than ``limit`` bytes, whatever their header says."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """Take the application behind this layer."""
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        received, refused = 0, False

        async def limited() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit and not refused:
                refused = True
                await self._refuse(scope, receive, send)
            return {"type": "http.disconnect"} if refused else message

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        if declared.isdigit() and int(declared[:DIGITS]) > self._limit:
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, limited, unless_refused)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLarge(f"the body is larger than {self._limit} bytes; send fewer sequences a request")
        # The connection is closed, since what is left of the body would be read as the next request.
        answer = ProblemJson(error.body(), status_code=error.status, headers={"Connection": "close"})
        await answer(scope, receive, send)


def check_sequences(lengths: Sequence[int], settings: Settings) -> int:
    """Give the number of moves in all; TooLarge says which limit a request of such sequences passes."""
    if len(lengths) > settings.max_sequences:
        raise TooLarge(f"{len(lengths)} sequences; a request holds at most {settings.max_sequences}")
    for number, length in enumerate(lengths):
        check_moves(length, settings, sequence=number)
    if sum(lengths) > settings.max_plies:
        raise TooLarge(f"{sum(lengths)} moves in all; a request holds at most {settings.max_plies}")
    return sum(lengths)


def check_moves(moves: int, settings: Settings, **where: Any) -> None:
    """Pass a game of so many moves; TooLarge if no game may be as long."""
    if moves > settings.max_moves:
        raise TooLarge(f"{moves} moves; a game holds at most {settings.max_moves}", **where)
