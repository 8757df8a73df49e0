"""What tests of streams share: a WebSocket and an event stream of the application itself, without a network."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from fastapi import FastAPI

_DOCUMENT = Path(__file__).parent.parent / "docs" / "streams.md"


def example(library: str) -> str:
    """Give the documented Python code that uses a library."""
    blocks = re.findall(r"```python\n(.*?)```", _DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if library in block)
    return found


class Event(NamedTuple):
    """One server-sent event."""

    kind: str
    data: Any
    id: str | None = None


def read_events(text: str) -> list[Event]:
    """Read a stream, comments and hints left out."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            events.append(Event(fields["event"], json.loads(fields["data"]), fields.get("id")))
    return events


def replay(moves: list[str], event: Event) -> list[str]:
    """Give the moves that an onlooker has after an event."""
    return moves[: event.data["ply"] - len(event.data["moves"])] + event.data["moves"]


class Connection:
    """A connection to the application, whose client can be slow and can leave."""

    farewell: ClassVar[dict[str, Any]]

    def __init__(self, app: FastAPI, scope: dict[str, Any]) -> None:
        """Open it."""
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.taken = 0
        self.readable = asyncio.Event()
        self.readable.set()
        self._left = False
        scope = {"headers": [], "query_string": b"", "http_version": "1.1", "asgi": {"version": "3.0"}, **scope}
        self.task: asyncio.Task[None] = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        message = await self.inbox.get()
        self.taken += 1
        return message

    async def _send(self, message: Any) -> None:
        await self.readable.wait()
        if self._left:
            raise OSError("gone")
        await self.sent.put(message)

    async def hang_up(self) -> None:
        """Be gone; wait until the application has noticed."""
        self._left = True
        self.readable.set()
        await self.inbox.put(self.farewell)
        await asyncio.wait_for(asyncio.gather(self.task, return_exceptions=True), 10)


class Wire(Connection):
    """A WebSocket."""

    farewell: ClassVar = {"type": "websocket.disconnect", "code": 1000}

    def __init__(self, app: FastAPI, path: str) -> None:
        """Open it."""
        super().__init__(app, {"type": "websocket", "path": path, "raw_path": path.encode(), "subprotocols": []})
        self.inbox.put_nowait({"type": "websocket.connect"})

    def say(self, **message: Any) -> None:
        """Send a message."""
        self.inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def hear(self) -> Any:
        """Give the next answer, or the code and the reason with which the service closed."""
        while True:
            message = await asyncio.wait_for(self.sent.get(), 10)
            if message["type"] == "websocket.close":
                return message["code"], message["reason"]
            if message["type"] == "websocket.send":
                return json.loads(message["text"])


class Onlooker(Connection):
    """A stream of events."""

    farewell: ClassVar = {"type": "http.disconnect"}

    def __init__(self, app: FastAPI, id_: str, top_k: int = 100) -> None:
        """Open it."""
        scope = {"type": "http", "method": "GET", "path": f"/sessions/{id_}/events"}
        super().__init__(app, {**scope, "query_string": b"top_k=%d" % top_k})
        self.inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.moves: list[str] = []
        self.status = 0
        self.text = ""

    async def next(self) -> Event | None:
        """Give the next event, None at the end; keep count of the moves."""
        while True:
            message = await asyncio.wait_for(self.sent.get(), 10)
            if message["type"] == "http.response.start":
                self.status = message["status"]
                continue
            body = message.get("body", b"").decode()
            self.text += body
            for event in read_events(body):
                if "moves" in event.data:
                    self.moves = replay(self.moves, event)
                return event
            if not message.get("more_body"):
                return None


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[Any]:
    """Close a connection at the end of a block."""
    try:
        yield connection
    finally:
        await connection.hang_up()


def our_tasks() -> set[str]:
    """Name what runs for streams and onlookers."""
    names = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()}
    return {name for name in names if name.startswith(("_Stream.", "Onlookers.", "FastAPI."))}
