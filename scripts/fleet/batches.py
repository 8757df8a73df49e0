"""Reads single requests and gives each its end, many in one go; made like service/gathering, scheduler and grouping."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from scripts.fleet.threads import Thread
from scripts.fleet.times import ServiceTimes

Process = Generator[simpy.Event, Any, None]
Call = Callable[[Sequence["Request"]], Generator[simpy.Event, Any, Sequence[bool]]]
_Waiting = tuple["Request", simpy.Event]

# Turns of the event loop that bring nothing new before a batch begins, and the seconds of an empty one.
_QUIET, _TURN = 2, 5e-6


@dataclass(slots=True)
class Request:
    """One move to be played in a session."""

    shard: int = 0
    """Where the session is kept."""
    steps: int = 1
    """Steps that the network takes for it: one, or the whole game where no state is kept."""
    known: bool = False
    """Whether the worker that is asked was also the last to play in the session."""


@dataclass(slots=True)
class Sizes:
    """How many rows so many batches had together."""

    batches: int = 0
    rows: int = 0

    def add(self, rows: int) -> None:
        """Count one batch."""
        self.batches += 1
        self.rows += rows

    @property
    def mean(self) -> float:
        """Rows of a batch, 0 if there was none."""
        return self.rows / self.batches if self.batches else 0.0


class _Queue(ABC):
    """Requests that wait, and the one who works on them as long as there are any."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._waiting: list[_Waiting] = []
        self._working = False

    def run(self, request: Request) -> simpy.Event:
        """Give the moment when a request is through; its value, if any, says whether it went well."""
        done = self._env.event()
        self._waiting.append((request, done))
        if not self._working:
            self._working = True
            self._env.process(self._work_while_waiting())
        return done

    def _work_while_waiting(self) -> Process:
        # What comes at the same moment, as all rows of a tick do, goes together.
        yield self._env.timeout(0)
        while self._waiting:
            yield from self._work_on_next()
        self._working = False

    def _take(self, most: int | None = None) -> list[_Waiting]:
        """Take those who have waited longest, all of them unless only so many may go together."""
        taken = self._waiting[:most]
        del self._waiting[:most]
        return taken

    @abstractmethod
    def _work_on_next(self) -> Process:
        """Work on some of those that wait."""


class Gathering(_Queue):
    """Works on one batch after another; what comes meanwhile waits for its end, and those on the way are let in."""

    def __init__(self, env: simpy.Environment, work: Call, loop: Thread, most: int) -> None:
        """Take what a batch of up to ``most`` requests is worked on with, and says of each whether it went well."""
        super().__init__(env)
        self._work, self._loop, self._most = work, loop, most
        self._alone = True

    def _work_on_next(self) -> Process:
        quiet = _QUIET if self._alone else 0
        while quiet < _QUIET and len(self._waiting) < self._most:
            before = len(self._waiting)
            yield self._loop.work("hop", _TURN)
            quiet = quiet + 1 if len(self._waiting) == before else 0
        batch = self._take(self._most)
        self._alone = len(batch) == 1
        results = yield from self._work([request for request, _ in batch])
        for (_, done), result in zip(batch, results, strict=True):
            done.succeed(result)
        # Whoever waited for it is answered before the next one begins.
        yield self._env.timeout(0)
        yield self._loop.work("hop", _TURN)


class Ticks(_Queue):
    """Continuous batching: each tick takes one step for every request that waits, up to a full batch, then the next."""

    def __init__(
        self, env: simpy.Environment, loop: Thread, engine: Thread, times: ServiceTimes, brief: float, hop: float
    ) -> None:
        """Take the event loop's thread and the engine's, and what ticks and the ways between them cost.

        Ticks of at most ``brief`` seconds keep the event loop.
        """
        super().__init__(env)
        self._loop, self._engine, self._times = loop, engine, times
        self._brief, self._hop = brief, hop
        self._batch: list[_Waiting] = []
        self.sizes = Sizes()

    def _work_on_next(self) -> Process:
        yield self._loop.work("step", self._fill)
        rows = len(self._batch)
        if self._seconds(rows) > self._brief:
            yield self._loop.work("hop", self._hop)
            yield self._engine.work("step", self._seconds(rows))
            yield self._loop.work("hop", self._hop)
        for request, done in self._batch:
            request.steps -= 1
            if request.steps:
                self._waiting.append((request, done))
            else:
                done.succeed()

    def _fill(self) -> float:
        """Fill a batch at the moment when its tick begins; give the seconds that it takes of the loop."""
        self._batch = self._take(self._times.max_batch)
        self.sizes.add(len(self._batch))
        seconds = self._seconds(len(self._batch))
        return seconds if seconds <= self._brief else 0.0

    def _seconds(self, rows: int) -> float:
        return self._times.step_base + self._times.step_row * rows


class Group(_Queue):
    """Groups requests for a call that takes many: what comes while one runs goes into the next."""

    def __init__(self, env: simpy.Environment, call: Call, store: simpy.Resource) -> None:
        """Take a call that says of each request whether it went well, and the thread on which calls take turns."""
        super().__init__(env)
        self._call, self._store = call, store
        self.sizes = Sizes()

    def _work_on_next(self) -> Process:
        group = self._take()
        self.sizes.add(len(group))
        with self._store.request() as turn:
            yield turn
            results = yield from self._call([request for request, _ in group])
        for (_, done), result in zip(group, results, strict=True):
            done.succeed(result)
