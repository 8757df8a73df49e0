"""Reads how long things took and gives how long those that wait are likely to take."""

import math

# Seconds after which a measurement counts a third: long enough to even out groups that end together.
_WINDOW = 1.0


class Pace:
    """The seconds that one of many things takes, as it was lately."""

    def __init__(self) -> None:
        """Begin without a measurement."""
        self._count = self._seconds = 0.0

    def add(self, count: int, seconds: float) -> None:
        """Take that so many were through in so many seconds."""
        keep = math.exp(-seconds / _WINDOW)
        self._count = self._count * keep + count
        self._seconds = self._seconds * keep + seconds

    def seconds(self, count: int) -> float:
        """Give the seconds that so many are likely to take; 1 if nothing was measured yet."""
        return count * self._seconds / self._count if self._count else 1.0

    def milliseconds(self, count: int) -> int:
        """Give the milliseconds that so many are likely to take, at least 1."""
        return max(1, math.ceil(1000 * self.seconds(count)))


class PaceBySize:
    """The same of things done together, whose time has a part that does not depend on how many they are."""

    def __init__(self) -> None:
        """Begin without a measurement."""
        # By the number of binary digits.
        self._paces: dict[int, Pace] = {}

    def add(self, count: int, seconds: float) -> None:
        """Take that so many were through together in so many seconds."""
        self._paces.setdefault(count.bit_length(), Pace()).add(count, seconds)

    def seconds(self, count: int) -> float:
        """Give the seconds that so many are likely to take together; 1 if nothing was measured of about as many."""
        pace = self._paces.get(count.bit_length())
        return 1.0 if pace is None else pace.seconds(count)
