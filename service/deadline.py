"""Reads how long a request may take and gives a block that ends with DeadlinePassed when that time is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from service.errors import DeadlinePassed

# When it is, by the clock of the event loop, and how many milliseconds that was from the beginning.
_deadline: ContextVar[tuple[float, int] | None] = ContextVar("deadline", default=None)


def begin_deadline(milliseconds: int | None) -> None:
    """Let what the calling task does from here on take at most so long; None takes the limit away.

    Tasks that it starts share the limit.
    """
    if milliseconds is None:
        _deadline.set(None)
    else:
        _deadline.set((asyncio.get_running_loop().time() + milliseconds / 1000, milliseconds))


@asynccontextmanager
async def within_deadline() -> AsyncIterator[None]:
    """Run a block until the deadline and raise DeadlinePassed there; a task without one has all the time it needs.

    Put what can be given up without a trace inside, and never a commit: whether it was applied would be left open.
    """
    deadline = _deadline.get()
    if deadline is None:
        yield
        return
    at, milliseconds = deadline
    timeout = asyncio.timeout_at(at)
    try:
        async with timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        detail = f"the request was not through within {milliseconds} ms; nothing was applied"
        raise DeadlinePassed(detail, timeout_ms=milliseconds) from None
