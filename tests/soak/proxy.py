"""A round-robin proxy: every request goes to the next replica, whichever connection it came on."""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress

from tests.soak.client import Client
from tests.soak.processes import free_port, until


class RoundRobin:
    """Passes requests on to several services by turns."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Take the services' addresses."""
        self._urls, self._turns = urls, itertools.cycle(range(len(urls)))
        self._port = free_port()
        self._connections = 0
        self.url = f"http://127.0.0.1:{self._port}"
        self.served = [0] * len(urls)
        """How many requests each has answered."""

    async def __aenter__(self) -> "RoundRobin":
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no longer, and wait until those who were connected have left."""
        self._server.close()
        await until(lambda: not self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstreams = [Client(url) for url in self._urls]
        self._connections += 1
        # The one who asked leaves, or a replica does: either way the other side sees its connection end.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.pop("content-length", 0)))
                turn = next(self._turns)
                answer = await upstreams[turn].request(method, path, body, headers)
                self.served[turn] += 1
                head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
                writer.write(f"HTTP/1.1 {answer.status} -\r\n{head}\r\n".encode("latin-1") + answer.body)
        for upstream in upstreams:
            upstream.close()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self._connections -= 1
