"""Reads request bodies as they arrive and refuses one that is larger than it may be, before it is all there."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge
from service.routes import ProblemJson

# More digits than any limit has; Python refuses to read a number of thousands.
_DIGITS = 20


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

        if declared.isdigit() and int(declared[:_DIGITS]) > self._limit:
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, limited, unless_refused)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLarge(f"the body is larger than {self._limit} bytes; send fewer sequences a request")
        # The connection is closed, since what is left of the body would be read as the next request.
        answer = ProblemJson(error.body(), status_code=error.status, headers={"Connection": "close"})
        await answer(scope, receive, send)
