"""Reads requests and gives when one worker has answered them: one Python process, its ticks, groups and limits."""

from collections.abc import Generator
from enum import Enum
from typing import Any

import simpy

from scripts.fleet.batches import Group, Request, Ticks
from scripts.fleet.design import Design
from scripts.fleet.stores import Store
from scripts.fleet.threads import Noise, Thread
from scripts.fleet.times import ServiceTimes


class Outcome(Enum):
    """What became of a request at a worker."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """429: as many as the worker takes are running."""
    AWAY = "away"
    """503: the store, or its shard, was away."""


class Worker:
    """A process: an event loop, a thread for the store, and one for the engine.

    Only one of them runs Python at a time, so the first two take turns. The engine's is free of that while it computes,
    and the store's while it waits for the disk (``kernel``).
    """

    def __init__(
        self,
        env: simpy.Environment,
        times: ServiceTimes,
        design: Design,
        store: Store,
        cores: simpy.Resource | None,
        noise: Noise,
    ) -> None:
        """Take the parts; the store belongs to others as well."""
        self._env, self._times, self._design, self._store = env, times, design, store
        self.python = Thread(env, cores, noise)
        self.engine, self.kernel = (Thread(env, cores, noise) for _ in range(2))
        row = times.step_row + design.aside * times.http_request
        self.ticks = Ticks(env, self.python, self.engine, times.model_copy(update={"step_row": row}), design)
        thread = simpy.Resource(env)
        hop = 0.0 if store.quick else design.hop
        self.loads = Group(env, lambda requests: store.load(self.python, requests), thread, self.python, hop)
        self.commits = Group(
            env, lambda requests: store.commit(self.python, self.kernel, requests), thread, self.python, hop
        )
        self._serving: set[simpy.Process] = set()
        self.alive = True

    @property
    def serving(self) -> int:
        """How many requests are running."""
        return len(self._serving)

    def die(self) -> None:
        """End: whoever waits for an answer is interrupted. What was on its way to the store arrives there."""
        self.alive = False
        for process in list(self._serving):
            process.interrupt("the worker died")

    def serve(self, request: Request) -> Generator[simpy.Event, Any, Outcome]:
        """Answer a request, in the process of whoever waits for it; simpy.Interrupt if the worker dies."""
        design, http = self._design, self._times.http_request
        if len(self._serving) >= design.max_requests:
            yield self.python.work("http", design.refusal)
            return Outcome.REFUSED
        waiting = self._env.active_process
        assert waiting is not None
        self._serving.add(waiting)
        try:
            yield self.python.work("http", (1 - design.aside - design.after) * http)
            there = yield from self._load(request)
            if there:
                yield self.ticks.run(request)
                there = yield self.commits.run(request)
            yield self.python.work("http", design.after * http)
            return Outcome.ANSWERED if there else Outcome.AWAY
        finally:
            self._serving.discard(waiting)

    def _load(self, request: Request) -> Generator[simpy.Event, Any, bool]:
        if request.known and self._design.remember and self._store.near:
            return (yield from self._store.load(self.python, [request]))[0]
        there = yield self.loads.run(request)
        yield self.python.work("load", self._design.miss)
        return bool(there)
