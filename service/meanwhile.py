"""Reads work that may as well be done early and does it in the event loop while another thread waits for something."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

Work = Callable[[], object]


class Meanwhile:
    """Work that is offered, until somebody who begins to wait lets it be done."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._offered: set[Work] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def offer(self, work: Work) -> None:
        """Let ``work`` be done before it is withdrawn, or not at all; to be called in the event loop.

        Whoever needs what it gives calls it afterwards all the same, and hears there what goes wrong.
        """
        self._loop = asyncio.get_running_loop()
        self._offered.add(work)

    def withdraw(self, work: Work) -> None:
        """Let ``work`` not be done any more."""
        self._offered.discard(work)

    def begin(self) -> None:
        """Let all that is offered be done now; for any thread that begins to wait."""
        if self._offered and self._loop is not None:
            # Of a loop that is closed nobody waits for anything.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._do)

    def _do(self) -> None:
        while self._offered:
            with suppress(Exception):
                self._offered.pop()()
