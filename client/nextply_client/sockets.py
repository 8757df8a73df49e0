"""Streams over WebSockets, sync and async: each carries out what the flows of `StreamCalls` ask for."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import ClientConnection, connect

from nextply_client.answers import Played
from nextply_client.calls import Calls
from nextply_client.errors import Unreachable
from nextply_client.flows import Effect, awaiting, blocking
from nextply_client.http import Wait
from nextply_client.streaming import SOCKET_ERRORS, Connect, Hear, Say, StreamCalls, socket_failure

# httpx has them among its headers, and a handshake has its own.
_OF_HTTP = ("accept", "accept-encoding", "connection", "host")


def connect_options(url: httpx.URL, headers: Mapping[str, str]) -> dict[str, Any]:
    """Give what both kinds of connections are made of."""
    scheme = "wss" if url.scheme == "https" else "ws"
    uri = str(url.copy_with(scheme=scheme, path=url.path.rstrip("/") + "/stream"))
    own = {name: value for name, value in headers.items() if name.lower() not in _OF_HTTP}
    agent = own.pop("user-agent", None)
    return {"uri": uri, "additional_headers": own, "user_agent_header": agent, "max_size": None}


class Stream:
    """A WebSocket on which moves are played; it is opened when it is needed and anew after every break.

    Iterating gives answers until all that was sent is answered. One thread at a time may use it.
    """

    def __init__(self, url: httpx.URL, headers: Mapping[str, str], calls: Calls) -> None:
        """Take the client's parts."""
        self.calls = StreamCalls(calls.retries, calls.timeout)
        self._options = connect_options(url, headers)
        self._socket: ClientConnection | None = None
        self._leaving = ExitStack()

    send = blocking(StreamCalls.send)
    receive = blocking(StreamCalls.receive)

    @property
    def expected(self) -> int:
        """How many answers are still to be received."""
        return self.calls.expected

    def do(self, effect: Effect) -> str | bytes | None:
        """Carry out what a call asks for."""
        try:
            match effect, self._socket:
                case Wait(seconds), _:
                    time.sleep(seconds)
                case Connect(timeout), _:
                    self.close()
                    connection = connect(**self._options, open_timeout=timeout, close_timeout=1)
                    self._socket = self._leaving.enter_context(connection)
                case Say(text), ClientConnection() as socket:
                    socket.send(text)
                case Hear(timeout), ClientConnection() as socket:
                    return socket.recv(timeout)
                case _:
                    raise Unreachable("the stream was closed")
        except SOCKET_ERRORS as error:
            raise socket_failure(error) from error
        return None

    def __iter__(self) -> Iterator[Played]:
        """Give itself."""
        return self

    def __next__(self) -> Played:
        """Give the next answer."""
        if not self.expected:
            raise StopIteration
        return self.receive()

    def close(self) -> None:
        """Close the connection; what was not answered may or may not have been applied."""
        self._socket = None
        self._leaving.close()

    def __enter__(self) -> "Stream":
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()


class AsyncStream:
    """What `Stream` is, for asyncio. One task at a time may use it."""

    def __init__(self, url: httpx.URL, headers: Mapping[str, str], calls: Calls) -> None:
        """Take the client's parts."""
        self.calls = StreamCalls(calls.retries, calls.timeout)
        self._options = connect_options(url, headers)
        self._socket: AsyncConnection | None = None

    send = awaiting(StreamCalls.send)
    receive = awaiting(StreamCalls.receive)

    @property
    def expected(self) -> int:
        """How many answers are still to be received."""
        return self.calls.expected

    async def do(self, effect: Effect) -> str | bytes | None:
        """Carry out what a call asks for."""
        try:
            match effect, self._socket:
                case Wait(seconds), _:
                    await asyncio.sleep(seconds)
                case Connect(timeout), _:
                    await self.close()
                    self._socket = await connect_async(**self._options, open_timeout=timeout, close_timeout=1)
                case Say(text), AsyncConnection() as socket:
                    await socket.send(text)
                case Hear(timeout), AsyncConnection() as socket:
                    async with asyncio.timeout(timeout):
                        return await socket.recv()
                case _:
                    raise Unreachable("the stream was closed")
        except SOCKET_ERRORS as error:
            raise socket_failure(error) from error
        return None

    def __aiter__(self) -> AsyncIterator[Played]:
        """Give itself."""
        return self

    async def __anext__(self) -> Played:
        """Give the next answer."""
        if not self.expected:
            raise StopAsyncIteration
        return await self.receive()

    async def close(self) -> None:
        """Close the connection; what was not answered may or may not have been applied."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def __aenter__(self) -> "AsyncStream":
        """Give itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()
