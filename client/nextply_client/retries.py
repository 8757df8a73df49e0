"""Says how often, and after how long, a request is sent again: exponential backoff with jitter, within bounds."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from nextply_client.errors import NextplyError

Told = Callable[[NextplyError, float], None]

# Those who were told the same time to come again should not come in one moment.
_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Retries:
    """How patient a client is with what may pass: lost connections, 429 and 503. Everything else is raised at once.

    ``Retries(attempts=1)`` sends everything once.
    """

    attempts: int = 20
    """How often a request is sent at most."""
    total: float = 30
    """Seconds from its first attempt after which no other one begins."""
    first: float = 0.05
    """Seconds before the second attempt; every further wait is twice as long as the one before …"""
    longest: float = 2
    """… up to so many seconds, unless the service asks for more."""
    told: Told | None = None
    """Called with what went wrong and the seconds until the next attempt."""

    def begin(self) -> "Backoff":
        """Give what looks after one request."""
        return Backoff(self)


class Backoff:
    """The attempts of one request."""

    def __init__(self, retries: Retries) -> None:
        """Begin now."""
        self._retries = retries
        self.reset()

    def reset(self) -> None:
        """Begin anew, after something has come through."""
        self._failed, self._began = 0, time.monotonic()

    def left(self, timeout: float) -> float:
        """Give the seconds that the next attempt may take: at most ``timeout``, and less near the end."""
        return max(min(timeout, self._began + self._retries.total - time.monotonic()), 0.001)

    def pause(self, failure: NextplyError) -> float:
        """Give the seconds to wait before the next attempt; raises ``failure`` if there is to be none."""
        self._failed += 1
        failure.attempts = self._failed
        if not failure.passing or self._failed >= self._retries.attempts:
            raise failure
        seconds = self._wait(failure.retry_after)
        if time.monotonic() - self._began + seconds >= self._retries.total:
            raise failure
        if self._retries.told is not None:
            self._retries.told(failure, seconds)
        return seconds

    def _wait(self, asked: float | None) -> float:
        longest = min(self._retries.longest, self._retries.first * 2.0 ** (self._failed - 1))
        return max(asked or 0, longest * random.uniform(0.5, 1)) + (asked or 0) * random.uniform(0, _SPREAD)
