"""Counts what a caller asks for and refuses what goes beyond so many requests a second."""

import math
import time

from service.security.failures import RateLimited


class Rate:
    """So many requests a second, and so many at once after a pause: a bucket that leaks (GCRA), one number large."""

    __slots__ = ("_ahead", "_each", "_through")

    def __init__(self, per_second: float, burst: int) -> None:
        """Begin with all of the burst left."""
        self._each = 1 / per_second
        self._ahead = (burst - 1) * self._each
        self._through = 0.0
        """When all that was let in would be through at the allowed pace."""

    def take(self, patience: float = 0) -> float:
        """Let a request in, and give the seconds after which; RateLimited if there is no room within ``patience``."""
        now = time.monotonic()
        early = self._through - now
        pause = early - self._ahead
        if pause > patience:
            milliseconds = max(1, math.ceil((pause - patience) * 1000))
            raise RateLimited(f"more than {1 / self._each:g} requests a second", milliseconds)
        self._through = (now if early < 0 else self._through) + self._each
        return max(0.0, pause)
