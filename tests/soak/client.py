"""A lean HTTP/1.1 client: one connection, one request at a time, no more parsing than the service's answers need."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class _Link(asyncio.Protocol):
    """Reads answers whose header says how long they are, or that have no body."""

    def __init__(self) -> None:
        self.waiting: asyncio.Future[Answer] | None = None
        self._data = bytearray()
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) < self._needed or (end := self._data.find(_END)) < 0:
            return
        first, *lines = self._data[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self._needed = end + len(_END) + int(headers.get("content-length", 0))
        if len(self._data) < self._needed:
            return
        answer = Answer(int(first.split(" ", 2)[1]), headers, bytes(self._data[end + len(_END) : self._needed]))
        self._data, self._needed = bytearray(), 0
        if headers.get("connection") == "close":
            self.transport.close()
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionResetError("the connection was lost before the answer was whole"))


class Client:
    """One connection to a service, opened when it is needed and anew after it was lost."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._host, self._port = host, int(port)
        self._link: _Link | None = None

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request, its body as JSON unless it is bytes; OSError if no whole answer comes."""
        if self._link is None or self._link.transport.is_closing():
            loop = asyncio.get_running_loop()
            _, self._link = await loop.create_connection(_Link, self._host, self._port)
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        sent = {"content-type": "application/json"} | dict(headers or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-length: {len(content)}\r\n{lines}\r\n"
        self._link.waiting = asyncio.get_running_loop().create_future()
        self._link.transport.write(head.encode() + content)
        try:
            return await self._link.waiting
        except BaseException:
            # What still comes on this connection would be read as the answer of the next request.
            self.close()
            raise

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must succeed; give the answer's body."""
        answer = await self.request(method, path, body)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer.status} {answer.body.decode()}"
        return answer.json() if answer.body else None

    def close(self) -> None:
        """Leave at once; what was asked is not waited for."""
        if self._link is not None:
            self._link.transport.abort()
            self._link = None
