"""Reads what happens in running games and gives it to onlookers, as server-sent events."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from service import requests
from service.names import shown
from service.routes import problems
from service.routes.sessions import Id
from service.security.caller import Caller, caller
from service.streams.onlookers import End, Onlookers, Watched
from service.streams.places import Places

# Seconds of silence after which a comment says that the connection is alive.
_QUIET = 15
# Milliseconds after which a client connects again: not all in one moment when a service starts anew.
_RETRY = (1000, 3000)
_HEADERS = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
_STREAM = {
    "description": "`session`, the session as it stands; then `moves` and `takeback` as they come: keep the first "
    "`ply` − (number of `moves`) moves that you have, and add `moves`; `deleted` or `expired` at the end.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


def event_routes(onlookers: Onlookers, places: Places) -> APIRouter:
    """Make the routes of events."""
    router = APIRouter(tags=["sessions"])

    async def watched(session: Id) -> AsyncIterator[Watched]:
        with places.taken():
            async with onlookers.watching(session) as seen:
                yield seen

    @router.get(
        "/sessions/{session}/events",
        response_class=Response,
        responses={200: _STREAM, **problems(404, 409, 422, 429, 503)},
    )
    async def events(
        watched: Annotated[Watched, Depends(watched)], top_k: Annotated[requests.TopK, Query()] = 5
    ) -> Response:
        """Watch a game: what is played in it, by whomever, as it happens."""
        return StreamingResponse(_written(watched, top_k, caller()), headers=_HEADERS)

    return router


async def _written(watched: Watched, top_k: int, who: Caller) -> AsyncIterator[bytes]:
    """Give the stream, piece by piece, while who asked may hear it; each is made when the one before is on its way."""
    yield b"retry: %d\n\n" % random.randint(*_RETRY)
    seen = None
    while not who.over():
        try:
            async with asyncio.timeout(_QUIET):
                now = await watched.after(seen)
        except TimeoutError:
            yield b":\n\n"
            continue
        if isinstance(now, End):
            if now.value is not None:
                yield b"event: %s\ndata: %s\n\n" % (now.value.encode(), orjson.dumps({"session": shown(watched.id)}))
            return
        event = now.whole(top_k) if seen is None else now.since(seen, top_k)
        if event is not None:
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.ply, event.kind.encode(), orjson.dumps(event.data))
        seen = now
