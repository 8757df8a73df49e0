"""Counts the connections that live long and refuses those beyond a limit."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded
from service.metrics import streams_open

# Nobody knows when a connection ends; a client asks again after so many milliseconds.
_RETRY = 1000


class Places:
    """Room for so many WebSockets and event streams at the same time."""

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self._limit, self._taken = limit, 0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a place while the block runs; Overloaded if there is none."""
        if self._taken >= self._limit:
            raise Overloaded(f"{self._taken} streams are open already", retry_after_ms=_RETRY)
        self._taken += 1
        streams_open.inc()
        self._empty.clear()
        try:
            yield
        finally:
            self._taken -= 1
            streams_open.dec()
            if not self._taken:
                self._empty.set()

    async def empty(self) -> None:
        """Wait until all are free."""
        await self._empty.wait()
