"""Lets those who change the same thing take turns, in the order in which they came."""

import asyncio
from collections import deque

from service.deadline import within_deadline
from service.errors import DeadlinePassed


class Turns:
    """One turn at a time for every key. A key that nobody wants costs nothing."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, key: str) -> None:
        """Wait for the turn of a key, until the deadline; who took it gives it back."""
        if self.take_at_once(key):
            return
        waiting = self._waiting[key]
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            with within_deadline():
                await turn
        except (asyncio.CancelledError, DeadlinePassed):
            # Whoever leaves must not be given a turn any more, and gives back one that came in the same moment.
            if not turn.cancel() and not turn.cancelled():
                self.give_back(key)
            raise

    def take_at_once(self, key: str) -> bool:
        """Take the turn of a key if nobody has it; say whether it was taken."""
        if key in self._waiting:
            return False
        self._waiting[key] = deque()
        return True

    def give_back(self, key: str) -> None:
        """End a turn; the next who waits has it."""
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]
