"""Reads a plan and a load and gives what happened: how long requests took, what was busy, what was tried again."""

import random
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from scripts.fleet.batches import Process, Request
from scripts.fleet.plan import Caution, Closed, Failure, Open, Plan
from scripts.fleet.stores import LmdbFile, Shard, Shards, Store
from scripts.fleet.threads import Crowd, Noise, Thread
from scripts.fleet.worker import Outcome, Worker

# Of what was sent, the part that is not counted: in the beginning queues are empty.
_WARM_UP = 0.1


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """What happened. Times in seconds; the first tenth of the requests is left out of all but the counters."""

    sent: Floats
    """When each request was first sent, in that order."""
    took: Floats
    """How long until its answer."""
    shard: npt.NDArray[np.intp]
    """Where its session was kept."""
    per_second: float
    in_flight: float
    """Mean number that was running as others arrived."""
    outcomes: dict[str, int]
    """How often a try ended in which way; one that got no answer counts as ``lost``."""
    busy: dict[str, float]
    """Share of the time for which each part was busy, the busiest of its kind."""
    rows_of_tick: float
    rows_of_commit: float

    def quantile(self, share: float) -> float:
        """Give the seconds that so many of the requests took at most."""
        return float(np.quantile(self.took, share, method="higher"))


def simulate(plan: Plan, load: Open | Closed, failures: Sequence[Failure] = (), caution: Caution | None = None) -> Run:
    """Run until all is answered; the same arguments give the same run."""
    return _Simulation(plan, load, failures, caution or Caution()).run()


class _Simulation:
    def __init__(self, plan: Plan, load: Open | Closed, failures: Sequence[Failure], caution: Caution) -> None:
        if failures and not plan.shards:
            raise ValueError("failures are of workers and shards; a file has neither")
        self._plan, self._load, self._failures, self._caution = plan, load, failures, caution
        self._env = simpy.Environment()
        self._rng = random.Random(plan.seed)
        self._noise = Noise(self._rng, plan.noise)
        self._cores = None if plan.cores is None else simpy.Resource(self._env, plan.cores)
        self._client = Thread(self._env, self._cores, self._noise)
        self._crowd_noise = Noise(self._rng, plan.crowd_noise)
        self._file = LmdbFile(self._env, plan.times, plan.fsync, self._noise)
        fsync = plan.times.commit_fsync if plan.fsync else 0.0
        self._shards = [Shard(self._env, plan.costs, fsync, self._noise) for _ in range(plan.shards)]
        self._store: Store = Shards(self._shards, plan.costs) if plan.shards else self._file
        self._workers = [self._new_worker() for _ in range(plan.workers)]
        self._all_workers = list(self._workers)
        self._shunned: set[int] = set()
        self._records: list[tuple[float, float, int, int]] = []
        self._outcomes: Counter[str] = Counter()
        self._running = 0
        self._finished = self._env.event()

    def run(self) -> Run:
        for failure in self._failures:
            self._env.process(self._fail(failure))
        if isinstance(self._load, Closed):
            for _ in range(self._load.connections):
                self._env.process(self._keep_asking(self._rng.choice(self._workers)))
        else:
            self._env.process(self._arrive(self._load))
        self._env.run(self._finished)
        return self._result()

    def _new_worker(self) -> Worker:
        plan = self._plan
        crowded = plan.cores is not None and plan.workers >= plan.cores
        crowd = Crowd(self._env, 1 / plan.times.crowded, self._crowd_noise)
        store = LmdbFile(self._env, plan.times, plan.fsync, self._noise) if plan.apart else self._store
        return Worker(self._env, plan.times, plan.design, store, self._cores, self._noise, crowd, crowded)

    def _new_request(self) -> Request:
        plies = self._plan.rebuilt_plies
        shard = self._rng.randrange(len(self._shards)) if self._shards else 0
        steps = self._rng.randint(1, plies) if plies else 1
        known = self._plan.apart or self._rng.random() < 1 / self._plan.workers
        return Request(shard, steps, known)

    def _keep_asking(self, worker: Worker) -> Process:
        """Ask on one connection, which ends at any one worker; what it takes is as the load generator sees it."""
        half = self._plan.client / 2
        while True:
            yield self._client.work("client", half)
            sent, running = self._env.now, self._begin()
            times = 0
            while (outcome := (yield from worker.serve(self._new_request()))) is not Outcome.ANSWERED:
                self._outcomes[outcome.value] += 1
                yield self._env.timeout(self._pause(times))
                times += 1
            yield self._client.work("client", half)
            self._end(sent, running, 0)

    def _arrive(self, load: Open) -> Process:
        for _ in range(load.requests):
            yield self._env.timeout(self._rng.expovariate(load.rate))
            self._env.process(self._ask())

    def _ask(self) -> Process:
        """Ask one worker after another until one answers."""
        sent, running = self._env.now, self._begin()
        request, times = self._new_request(), 0
        while True:
            tried = self._env.now
            outcome = yield from self._try(replace(request))
            if outcome is Outcome.ANSWERED:
                break
            if outcome is None:
                self._outcomes["lost"] += 1
                yield self._env.timeout(max(0.0, tried + self._caution.timeout - self._env.now))
            else:
                self._outcomes[outcome.value] += 1
                yield self._env.timeout(self._pause(times))
                times += 1
        self._end(sent, running, request.shard)

    def _try(self, request: Request) -> Generator[simpy.Event, Any, Outcome | None]:
        """Ask one worker; give None if nothing will come of it."""
        worker = self._choose()
        if worker is None or not worker.alive:
            return None
        try:
            return (yield from worker.serve(request))
        except simpy.Interrupt:
            return None

    def _choose(self) -> Worker | None:
        """Give any worker but those that are known to be gone: many balancers who know nothing of each other."""
        there = [worker for number, worker in enumerate(self._workers) if number not in self._shunned]
        return self._rng.choice(there) if there else None

    def _pause(self, times: int) -> float:
        """Give how long a request waits that was refused so many times before."""
        return self._caution.backoff * self._caution.growth**times * self._rng.uniform(0.5, 1.5)

    def _fail(self, failure: Failure) -> Process:
        yield self._env.timeout(failure.at)
        if failure.what == "shard":
            self._shards[failure.number].away = True
            yield self._env.timeout(failure.lasts)
            self._shards[failure.number].away = False
            return
        self._workers[failure.number].die()
        noticed = min(self._caution.noticed, failure.lasts)
        yield self._env.timeout(noticed)
        self._shunned.add(failure.number)
        yield self._env.timeout(failure.lasts - noticed)
        self._workers[failure.number] = self._new_worker()
        self._all_workers.append(self._workers[failure.number])
        self._shunned.discard(failure.number)

    def _begin(self) -> int:
        """Give how many others are running."""
        self._running += 1
        return self._running - 1

    def _end(self, sent: float, running: int, shard: int) -> None:
        self._running -= 1
        self._outcomes[Outcome.ANSWERED.value] += 1
        self._records.append((sent, self._env.now - sent, running, shard))
        if len(self._records) == self._load.requests:
            self._finished.succeed()

    def _result(self) -> Run:
        records = np.array(sorted(self._records))
        sent, took, running, shard = records[int(len(records) * _WARM_UP) :].T
        if isinstance(self._load, Closed):
            # By the order of answers: those that were sent last are not all answered.
            ends = np.array([sent + took for sent, took, *_ in self._records])
            counted = ends[int(len(ends) * _WARM_UP) :]
        else:
            counted = sent
        return Run(
            sent=sent,
            took=took,
            shard=shard.astype(np.intp),
            per_second=(len(counted) - 1) / (counted[-1] - counted[0]),
            in_flight=float(running.mean()),
            outcomes=dict(self._outcomes),
            busy=self._busy(),
            rows_of_tick=_mean([worker.ticks.sizes for worker in self._all_workers]),
            rows_of_commit=_mean([worker.commits.sizes for worker in self._all_workers]),
        )

    def _busy(self) -> dict[str, float]:
        """Give what was busy over the whole run, the warm-up with it."""
        now = self._env.now
        busy = {f"worker {kind}": max(worker.busy(kind) for worker in self._all_workers) for kind in _KINDS}
        busy["worker"] = max(sum(map(worker.busy, _KINDS)) for worker in self._all_workers)
        busy["engine"] = max(worker.engine.busy["step"] for worker in self._all_workers)
        busy["client"] = sum(self._client.busy.values())
        busy["file"] = self._file.busy
        busy["kernel"] = max(worker.kernel.busy["disk"] for worker in self._all_workers)
        for kind in ("cpu", "disk"):
            busy[f"shard {kind}"] = max((shard.busy[kind] for shard in self._shards), default=0.0)
        return {name: seconds / now for name, seconds in busy.items()}


_KINDS = ("hop", "http", "load", "step", "commit")


def _mean(sizes: Sequence[Any]) -> float:
    batches = sum(size.batches for size in sizes)
    return sum(size.rows for size in sizes) / batches if batches else 0.0
