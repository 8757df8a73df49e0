"""Reads how long things took and gives how long those that wait are likely to take."""

import math

# What remains of a measurement when the next one comes: about the last fifty count.
_KEEP = 0.98


class Pace:
    """The seconds that one of many things takes, as a moving average."""

    def __init__(self) -> None:
        """Begin without a measurement."""
        self._count = self._seconds = 0.0

    def add(self, count: int, seconds: float) -> None:
        """Take that so many were through in so many seconds."""
        self._count = self._count * _KEEP + count
        self._seconds = self._seconds * _KEEP + seconds

    def milliseconds(self, count: int) -> int:
        """Give the milliseconds that so many are likely to take, at least 1; a second if nothing was measured yet."""
        return max(1, math.ceil(1000 * count * self._seconds / self._count)) if self._count else 1000
