"""Reads requests and refuses those that hold more than the settings allow: bodies as they arrive, then their moves."""

from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge
from service.routes import ProblemJson
from service.settings import Settings

# More digits than any limit has; Python refuses to read a number of thousands.
DIGITS = 20
# Colons and brackets that JSON may have, for each sequence, each move and beside them: ids may be full of colons.
_OF_A_SEQUENCE, _OF_A_MOVE, _OTHERS = 160, 2, 1000


class BodyLimit:
    """An ASGI layer that answers 413 to bodies of too many bytes, whatever their header says, or too many members."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Take the application behind this layer."""
        self._app, self._limit, self._settings = app, settings.max_body, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared, json = headers.get(b"content-length", b"0"), b"json" in headers.get(b"content-type", b"")
        received, members, refused = 0, 0, False

        async def limited() -> Message:
            nonlocal received, members, refused
            message = await receive()
            body = message.get("body", b"")
            received, members = received + len(body), members + (count_members(body) if json else 0)
            if not refused and (received > self._limit or too_many_members(members, self._settings)):
                refused = True
                await self._refuse(received > self._limit, scope, receive, send)
            return {"type": "http.disconnect"} if refused else message

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        if declared.isdigit() and int(declared[:DIGITS]) > self._limit:
            await self._refuse(True, scope, receive, send)
        else:
            await self._app(scope, limited, unless_refused)

    async def _refuse(self, long: bool, scope: Scope, receive: Receive, send: Send) -> None:
        what = f"is larger than {self._limit} bytes" if long else "has more members or lists than any request"
        error = TooLarge(f"the body {what}; send fewer sequences a request")
        # The connection is closed, since what is left of the body would be read as the next request.
        answer = ProblemJson(error.body(), status_code=error.status, headers={"Connection": "close"})
        await answer(scope, receive, send)


def count_members(json: bytes) -> int:
    """Count, more or less, the members and lists in JSON, at the speed of memory."""
    return json.count(b":") + json.count(b"[")


def too_many_members(count: int, settings: Settings) -> bool:
    """Say whether so many members and lists are more than any good request has.

    Each member that is unknown is described, which takes a kilobyte, and each list is begun to be read as a sequence:
    a body of nothing else would cost hundreds of megabytes, and seconds in which nobody else is answered.
    """
    return count > _OTHERS + _OF_A_SEQUENCE * settings.max_sequences + _OF_A_MOVE * settings.max_plies


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
