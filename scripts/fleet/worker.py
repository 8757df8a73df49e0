"""Reads requests and gives when one worker has answered them: one Python process, its ticks, groups and limits."""

import math
from collections.abc import Generator, Sequence
from enum import Enum
from typing import Any

import simpy

from scripts.fleet.batches import Gathering, Group, Request, Ticks
from scripts.fleet.design import Design
from scripts.fleet.stores import Results, Store
from scripts.fleet.threads import Crowd, Noise, Thread
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
    and the store's while it waits for the disk (``kernel``). A brief commit keeps the event loop.
    """

    def __init__(
        self,
        env: simpy.Environment,
        times: ServiceTimes,
        design: Design,
        store: Store,
        cores: simpy.Resource | None,
        noise: Noise,
        crowd: Crowd | None = None,
        crowded: bool = False,
    ) -> None:
        """Take the parts, and whether there are as many workers as cores; the store may belong to others as well."""
        self._env, self._times, self._design, self._store, self._crowded = env, times, design, store, crowded
        self.python, self.engine, self.kernel = (Thread(env, cores, noise, crowd) for _ in range(3))
        self._brief = design.brief_if_crowded if crowded else design.brief
        of_ticks = times.model_copy(update={"step_row": times.step_row + design.aside * times.http_request})
        self.ticks = Ticks(env, self.python, self.engine, of_ticks, self._brief, design.hop)
        thread = simpy.Resource(env)
        self.loads = Group(env, self._read, thread)
        self.commits = Group(env, self._keep, thread)
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
        design, times = self._design, self._times
        if len(self._serving) >= design.max_requests:
            yield self.python.work("http", design.refusal)
            return Outcome.REFUSED
        waiting = self._env.active_process
        assert waiting is not None
        self._serving.add(waiting)
        try:
            # Half of what a crowd costs is spent before the batch, half behind it.
            crowd = times.http_crowd / 2 * math.log2(max(1.0, len(self._serving) / times.max_batch))
            before = 1 - design.gathered - design.aside - design.after
            yield self.python.work("http", before * times.http_request + crowd)
            # Only single steps are played together; a game that is rebuilt takes as long as it takes.
            there = (yield self._batches.run(request)) if request.steps == 1 else (yield from self._play([request]))[0]
            yield self.python.work("http", design.after * times.http_request + crowd)
            return Outcome.ANSWERED if there else Outcome.AWAY
        finally:
            self._serving.discard(waiting)

    def _play(self, requests: Sequence[Request]) -> Results:
        """Load, step and keep sessions together; say of each whether the store was there for it."""
        times = self._times
        yield self.python.work("http", times.http_batch + self._design.gathered * times.http_request * len(requests))
        there = yield from self._load(requests)
        going = [request for request, is_there in zip(requests, there, strict=True) if is_there]
        yield self._env.all_of([self.ticks.run(request) for request in going])
        kept = [self.commits.run(request) for request in going]
        yield self._env.all_of(kept)
        results = iter(kept)
        return [is_there and bool(next(results).value) for is_there in there]

    def _load(self, requests: Sequence[Request]) -> Results:
        remembers = self._store.near and self._design.remember
        loading = {id(request): self.loads.run(request) for request in requests if not (remembers and request.known)}
        yield self._env.all_of(loading.values())
        if not self._store.near:
            # What is read from a shard, the worker has to catch up with as well.
            times = self._times
            catch_up = max(0.0, times.store_foreign_row - times.store_load_row)
            yield self.python.work("load", catch_up * len(loading))
        return [id(request) not in loading or bool(loading[id(request)].value) for request in requests]

    def _read(self, requests: Sequence[Request]) -> Results:
        """Read sessions from the store; a file is read in the event loop."""
        hop = 0.0 if self._store.near else self._design.hop
        yield self.python.work("hop", hop)
        there = yield from self._store.load(self.python, requests)
        yield self.python.work("hop", hop)
        return there

    def _keep(self, requests: Sequence[Request]) -> Results:
        """Keep sessions, in the event loop if that is brief and a thread would be of no use."""
        brief = self._store.seconds(len(requests)) <= self._brief
        here = self._store.quick or (brief and (self._crowded or len(requests) < self._design.few))
        hop = 0.0 if here else self._design.hop
        yield self.python.work("hop", hop)
        there = yield from self._store.commit(self.python, self.kernel, requests, here)
        yield self.python.work("hop", hop)
        return there

    def busy(self, kind: str) -> float:
        """Give the seconds that Python was busy with work of a kind; it is also while a commit keeps the event loop."""
        return self.python.busy[kind] + (self.kernel.busy[kind] if kind == "commit" else 0.0)
