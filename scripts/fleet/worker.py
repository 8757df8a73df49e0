"""Reads requests and gives when one worker has answered them: one Python process, its ticks, groups and limits."""

from collections.abc import Generator, Sequence
from enum import Enum
from typing import Any

import simpy

from scripts.fleet.batches import Gathering, Group, Request, Ticks
from scripts.fleet.design import Design
from scripts.fleet.stores import Results, Store
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
        self._batches = Gathering(env, self._play, self.python, design.ticks * times.max_batch)
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
            # Only single steps are played together; a game that is rebuilt takes as long as it takes.
            there = (yield self._batches.run(request)) if request.steps == 1 else (yield from self._play([request]))[0]
            yield self.python.work("http", design.after * http)
            return Outcome.ANSWERED if there else Outcome.AWAY
        finally:
            self._serving.discard(waiting)

    def _play(self, requests: Sequence[Request]) -> Results:
        """Load, step and keep sessions together; say of each whether the store was there for it."""
        there = yield from self._load(requests)
        going = [request for request, is_there in zip(requests, there, strict=True) if is_there]
        yield self._env.all_of([self.ticks.run(request) for request in going])
        kept = [self.commits.run(request) for request in going]
        yield self._env.all_of(kept)
        results = iter(kept)
        return [is_there and bool(next(results).value) for is_there in there]

    def _load(self, requests: Sequence[Request]) -> Results:
        near = self._store.near and self._design.remember
        known = [request for request in requests if near and request.known]
        if known:
            yield from self._store.load(self.python, known)
        loading = {id(request): self.loads.run(request) for request in requests if not (near and request.known)}
        yield self._env.all_of(loading.values())
        yield self.python.work("load", self._design.miss * len(loading))
        return [id(request) not in loading or bool(loading[id(request)].value) for request in requests]
