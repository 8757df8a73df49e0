"""Reads single items and hands them on in batches, one after another: what comes while one is worked on waits for it.

So batches are as large as the load makes them, without a timer. Two small ones side by side would read the network's
weights twice, wait for the disk twice, and for each other's turn with the interpreter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from service.metrics import Level

Item = TypeVar("Item")

# Turns of the event loop that bring nothing new before a batch begins: what one reads from sockets, the next asks for.
_QUIET = 2


class Gathering(Generic[Item]):
    """Calls ``work`` with as many items as wait, up to ``most``, in their order; ``work`` answers whoever asked."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[None]], most: int, level: Level) -> None:
        """Begin with nothing to do; what waits is added to ``level``."""
        self._work, self._most, self._level = work, most, level
        self._waiting: list[Item] = []
        self._working: asyncio.Task[None] | None = None
        self._alone = True

    def add(self, items: Sequence[Item]) -> None:
        """Let items be worked on, soon."""
        self._waiting += items
        self._level.value += len(items)
        if self._working is None:
            # It goes on for others, so it must not count as a part of what the caller does.
            self._working = asyncio.create_task(self._work_while_waiting(), context=Context())

    async def _work_while_waiting(self) -> None:
        try:
            while self._waiting:
                await self._let_come()
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._level.value -= len(batch)
                self._alone = len(batch) == 1
                await self._work(batch)
                # Whoever waited for it goes on before the next one begins.
                await asyncio.sleep(0)
        finally:
            self._working = None

    async def _let_come(self) -> None:
        """Let in who is on the way, up to a full batch; an item that was alone the last time waits for nobody."""
        quiet = _QUIET if self._alone else 0
        while quiet < _QUIET and len(self._waiting) < self._most:
            before = len(self._waiting)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == before else 0
