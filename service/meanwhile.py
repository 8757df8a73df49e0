"""Reads work that may as well be done early and does it in the event loop while another thread waits for something."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Work = Callable[[], object]


class Meanwhile:
    """Work that is offered, until somebody who begins to wait lets it be done."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._offered: set[Work] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def offer(self, work: Work | None) -> Iterator[None]:
        """Let ``work``, if there is any, be done while the block runs, or not at all.

        Whoever needs what it gives calls it afterwards all the same, and hears there what goes wrong.
        """
        if work is None:
            yield
            return
        self._loop = asyncio.get_running_loop()
        self._offered.add(work)
        try:
            yield
        finally:
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
