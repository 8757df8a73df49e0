"""Reads how long a request may take and gives a block that ends with DeadlinePassed when that time is over."""

import asyncio
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


def within_deadline() -> "Block":
    """Run a block until the deadline and raise DeadlinePassed there; a task without one has all the time it needs.

    Put what can be given up without a trace inside, and never a commit: whether it was applied would be left open.
    """
    return Block()


class Block:
    """What `asyncio.timeout_at` is, at a third of the cost: every move passes through one."""

    _timer: asyncio.TimerHandle | None

    def __enter__(self) -> "Block":
        """Begin, if there is time."""
        deadline = _deadline.get()
        self._over, self._timer = False, None
        if deadline is not None:
            at, self._milliseconds = deadline
            loop = asyncio.get_running_loop()
            if loop.time() >= at:
                raise self._passed()
            task = asyncio.current_task()
            assert task is not None
            self._task, self._cancelling = task, task.cancelling()
            self._timer = loop.call_at(at, self._cut)
        return self

    def let_end(self) -> None:
        """Cut nothing off any more: what can be given up is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut(self) -> None:
        self._over = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End; what somebody else cancelled stays cancelled."""
        self.let_end()
        if self._over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._passed() from None

    def _passed(self) -> DeadlinePassed:
        return passed(self._milliseconds)


def passed(milliseconds: int) -> DeadlinePassed:
    """Give the error of a request that may take so many milliseconds and took more."""
    detail = f"the request was not through within {milliseconds} ms; nothing was applied"
    return DeadlinePassed(detail, timeout_ms=milliseconds)
