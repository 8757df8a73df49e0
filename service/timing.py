"""Keeps of each request who asked, and how long it waited for the network, was computed and waited for the store.

The outermost layer begins a record; whoever does something for a request finds it through a context variable. What is
done for many requests at once has a record of its own, which they share.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from time import perf_counter
from typing import Final, NamedTuple

from service.names import shown

# Parts of a request's time: in the scheduler's hands, in steps of the network, in the store's hands, and before all
# that, until the batch began in which its moves are played.
SCHEDULER: Final = 0
NETWORK: Final = 1
STORE: Final = 2
BATCH: Final = 3
_PARTS = 4
# Events that are kept of one request: a game of 2,000 moves is as many ticks, which must leave room for others.
_MOST_TICKS, _MOST_EVENTS = 128, 192
_IN_PATH = re.compile(r"/sessions/([A-Za-z0-9._:~-]{1,128})(?:/|$)")


class Event(NamedTuple):
    """One stretch of a request's time, by ``time.perf_counter``."""

    part: int
    begun: float
    ended: float
    about: str | int
    """Of a tick its rows, of the scheduler how many steps were asked for, of the store the operation."""


class Timing:
    """One request, or what is done at once for many. What goes on at the same time counts once."""

    request_id = b""
    path = ""
    trace: str | None = None
    """The trace it belongs to, 32 hexadecimal digits."""
    shared: "Timing | None" = None
    events: list[Event] | None = None
    """None if nobody wants them."""
    _session: str | None = None

    def __init__(self) -> None:
        """Begin with nothing done."""
        # Of each part the seconds, and then of each up to when they are counted.
        self._seconds = [0.0] * (2 * _PARTS)

    def add(self, part: int, begun: float, ended: float, about: str | int) -> None:
        """Take a stretch of time; they come in the order of their ends."""
        seconds = self._seconds
        new = begun if begun > seconds[part + _PARTS] else seconds[part + _PARTS]
        if ended > new:
            seconds[part] += ended - new
            seconds[part + _PARTS] = ended
            if self.events is not None and len(self.events) < (_MOST_TICKS if part == NETWORK else _MOST_EVENTS):
                self.events.append(Event(part, new, ended, about))

    def seconds(self) -> tuple[float, float, float]:
        """Give how long it waited for the network, was computed, and waited for the store."""
        scheduler, network, store, batch, *_ = self._seconds
        if self.shared is not None:
            others = self.shared._seconds
            scheduler, network, store = scheduler + others[0], network + others[1], store + others[2]
        return batch + (scheduler - network if scheduler > network else 0.0), network, store

    def all_events(self) -> list[Event]:
        """Give the stretches of which it is made, in order."""
        shared = self.shared.all_events() if self.shared is not None else []
        return sorted([*shared, *(self.events or [])], key=lambda event: event.begun)

    def server_timing(self) -> bytes | None:
        """Give the value of the header Server-Timing, None if neither the network nor the store had to do with it."""
        queue, network, store = self.seconds()
        if not (network or store):
            return None
        return b"queue;dur=%.3f, model;dur=%.3f, store;dur=%.3f" % (queue * 1e3, network * 1e3, store * 1e3)

    @property
    def session(self) -> str | None:
        """The session that it is about, None if that is not known, or if there are several."""
        if self._session is not None:
            return shown(self._session)
        found = _IN_PATH.match(self.path)
        return found[1] if found else None

    def name_session(self, id_: str | None) -> None:
        """Take the id under which the session is kept, where the path does not have it."""
        self._session = id_


_current: ContextVar[Timing | None] = ContextVar("timing", default=None)


def begin_timing(timing: Timing) -> None:
    """Let everything that the calling task and those that it starts do from here on go to a record."""
    _current.set(timing)


def current_timing() -> Timing | None:
    """Give the record of the request for which this is called, None if it is called for none."""
    return _current.get()


def asked_store(operation: str, begun: float) -> None:
    """Let the request for which this is called know how long the store took, from ``begun`` to now."""
    timing = _current.get()
    if timing is not None:
        timing.add(STORE, begun, perf_counter(), operation)


def share_timing(timings: Iterable[Timing | None]) -> None:
    """Let what the calling task does from here on count for all of these requests, once for each."""
    of = set(timings)
    if len(of) == 1:
        (only,) = of
        _current.set(only)
        return
    together = Timing()
    begin_timing(together)
    for timing in of:
        if timing is not None:
            timing.shared = together
            if timing.events is not None and together.events is None:
                together.events = []
