"""Reads single requests and gives each its end, many in one go; made like service/gathering, scheduler and grouping."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from scripts.fleet.design import Design
from scripts.fleet.threads import Thread
from scripts.fleet.times import ServiceTimes

Process = Generator[simpy.Event, Any, None]
Call = Callable[[Sequence["Request"]], Generator[simpy.Event, Any, Sequence[bool]]]


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


class Gathering:
    """Works on one batch after another; what comes meanwhile waits for its end, and those on the way are let in."""

    def __init__(self, env: simpy.Environment, work: Call, loop: Thread, most: int) -> None:
        """Take what a batch of up to ``most`` requests is worked on with, and says of each whether it went well."""
        self._env, self._work, self._loop, self._most = env, work, loop, most
        self._waiting: list[tuple[Request, simpy.Event]] = []
        self._working = False
        self._alone = True

    def run(self, request: Request) -> simpy.Event:
        """Give the moment when a request is through; its value says whether it went well."""
        done = self._env.event()
        self._waiting.append((request, done))
        if not self._working:
            self._working = True
            self._env.process(self._work_while_waiting())
        return done

    def _work_while_waiting(self) -> Process:
        while self._waiting:
            quiet = _QUIET if self._alone else 0
            while quiet < _QUIET and len(self._waiting) < self._most:
                before = len(self._waiting)
                yield self._loop.work("hop", _TURN)
                quiet = quiet + 1 if len(self._waiting) == before else 0
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._alone = len(batch) == 1
            results = yield from self._work([request for request, _ in batch])
            for (_, done), result in zip(batch, results, strict=True):
                done.succeed(result)
        self._working = False


class Ticks:
    """Continuous batching: each tick takes one step for every request that waits, up to a full batch, then the next."""

    def __init__(
        self, env: simpy.Environment, loop: Thread, engine: Thread, times: ServiceTimes, design: Design
    ) -> None:
        """Take the event loop's thread and the engine's, and what ticks and the ways between them cost."""
        self._env, self._loop, self._engine, self._times = env, loop, engine, times
        self._brief, self._hop, self._cold = design.brief, design.hop, design.cold
        self._waiting: deque[tuple[Request, simpy.Event]] = deque()
        self._batch: list[tuple[Request, simpy.Event]] = []
        self._ticking = False
        self.sizes = Sizes()

    def run(self, request: Request) -> simpy.Event:
        """Give the moment when all steps of a request are taken."""
        done = self._env.event()
        self._waiting.append((request, done))
        if not self._ticking:
            self._ticking = True
            self._env.process(self._tick_while_waiting())
        return done

    def _tick_while_waiting(self) -> Process:
        while self._waiting:
            yield self._loop.work("step", self._take)
            rows = len(self._batch)
            if self._seconds(rows) > self._brief:
                yield self._loop.work("hop", self._hop)
                yield self._engine.work("step", self._seconds(rows))
                yield self._loop.work("hop", self._hop)
            else:
                yield self._loop.work("hop", self._cold)
            for request, done in self._batch:
                request.steps -= 1
                if request.steps:
                    self._waiting.append((request, done))
                else:
                    done.succeed()
        self._ticking = False

    def _take(self) -> float:
        """Fill a batch at the moment when its tick begins; give the seconds that it takes of the loop."""
        rows = min(len(self._waiting), self._times.max_batch)
        self._batch = [self._waiting.popleft() for _ in range(rows)]
        self.sizes.add(rows)
        seconds = self._seconds(rows)
        return seconds if seconds <= self._brief else 0.0

    def _seconds(self, rows: int) -> float:
        return self._times.step_base + self._times.step_row * rows


class Group:
    """Groups requests for a call that takes many: what comes while one runs goes into the next."""

    def __init__(self, env: simpy.Environment, call: Call, store: simpy.Resource, loop: Thread, hop: float) -> None:
        """Take a call that says of each request whether it went well, and the thread on which calls take turns.

        The way there takes ``hop`` seconds of the event loop, and so does the way back.
        """
        self._env, self._call, self._store, self._loop, self._hop = env, call, store, loop, hop
        self._waiting: list[tuple[Request, simpy.Event]] = []
        self._running = False
        self.sizes = Sizes()

    def run(self, request: Request) -> simpy.Event:
        """Give the moment when the call that a request is part of ends; its value says whether it went well."""
        done = self._env.event()
        self._waiting.append((request, done))
        if not self._running:
            self._running = True
            self._env.process(self._run_while_waiting())
        return done

    def _run_while_waiting(self) -> Process:
        # What comes at the same moment, as all rows of a tick do, goes together.
        yield self._env.timeout(0)
        while self._waiting:
            group, self._waiting = self._waiting, []
            self.sizes.add(len(group))
            with self._store.request() as turn:
                yield turn
                yield self._loop.work("hop", self._hop)
                results = yield from self._call([request for request, _ in group])
            yield self._loop.work("hop", self._hop)
            for (_, done), result in zip(group, results, strict=True):
                done.succeed(result)
        self._running = False
