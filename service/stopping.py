"""Reads that the service is to end and tells those who have to know: probes first, then everything that lives long."""

import asyncio

from service.errors import Draining


class Stopping:
    """The end of the service, in two steps.

    From ``announce`` on, readiness is off, and everything else is still served. From ``begin`` on, nothing new is
    taken, and what would never end by itself has to.
    """

    def __init__(self) -> None:
        """Begin as a service that runs; no event loop is needed yet."""
        self._announced = False
        self._begun = asyncio.Event()

    @property
    def announced(self) -> bool:
        """Say whether the service is going to stop."""
        return self._announced

    @property
    def begun(self) -> bool:
        """Say whether nothing new is taken any more."""
        return self._begun.is_set()

    def announce(self) -> None:
        """Turn readiness off."""
        self._announced = True

    def begin(self) -> None:
        """Let everybody go on who waits; called in the event loop."""
        self._announced = True
        self._begun.set()

    async def wait(self) -> None:
        """Wait until what lives long has to end."""
        await self._begun.wait()


def cut_off() -> Draining:
    """Give the error of a request that the end of the service found running."""
    return Draining("the service stopped before this was through; ask whether it was applied")
