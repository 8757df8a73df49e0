"""Reads groups of requests and gives when each is loaded or kept: the file of one machine, or shards in a network."""

import math
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import simpy

from scripts.fleet.batches import Process, Request
from scripts.fleet.threads import Noise, Thread
from scripts.fleet.times import ServiceTimes, ShardCosts

# Of the time that a log takes to reach the disk, what a processor is busy with it: 0.11 of 0.27 ms for Valkey's.
DISK_CPU = 0.4
# Calls of LMDB for a session that is kept (service/sessions/lmdb.py). After each its thread asks for Python anew.
_WRITES = 5

Results = Generator[simpy.Event, Any, Sequence[bool]]


class Store(Protocol):
    """Where sessions are; a call says of each request whether the store was there for it."""

    near: bool
    """Whether reading takes no longer than the CPU for it."""
    quick: bool
    """Whether the same is true of keeping: then workers need no thread for it."""

    def seconds(self, rows: int) -> float:
        """Give what it is likely to take to keep so many sessions."""

    def load(self, python: Thread, requests: Sequence[Request]) -> Results:
        """Read sessions; ``python`` is where the worker runs Python."""

    def commit(self, python: Thread, kernel: Thread, requests: Sequence[Request], here: bool) -> Results:
        """Keep sessions, and wait for the disk: ``here``, where nothing else runs Python meanwhile, or on a thread.

        ``kernel`` is the thread of the store while it runs no Python.
        """


class LmdbFile:
    """A file that all workers of a machine share; of all commits one runs at a time, until the disk has it."""

    near = True

    def __init__(self, env: simpy.Environment, times: ServiceTimes, fsync: bool, noise: Noise) -> None:
        """Take what commits cost; without ``fsync`` nothing waits for the disk."""
        self.quick = not fsync
        self._env, self._times, self._noise = env, times, noise
        self._fsync = times.commit_fsync if fsync else 0.0
        self._writer = simpy.Resource(env)
        self.busy = 0.0
        """Seconds for which somebody wrote or waited for the disk."""

    def seconds(self, rows: int) -> float:
        """Give what it takes to keep so many sessions if nobody else writes."""
        return self._times.store_commit_base + self._times.store_commit_row * rows + self._fsync

    def load(self, python: Thread, requests: Sequence[Request]) -> Results:
        """Read sessions that others played in; nobody has to wait for a writer."""
        yield python.work("load", self._times.store_foreign_row * len(requests), next_=True)
        return [True] * len(requests)

    def commit(self, python: Thread, kernel: Thread, requests: Sequence[Request], here: bool) -> Results:
        """Keep sessions in one transaction."""
        if here:
            yield python.lend()
        with self._writer.request() as turn:
            yield turn
            begin = self._env.now
            yield from self._write(kernel if here else python, len(requests), 1 if here else _WRITES * len(requests))
            yield kernel.work("disk", DISK_CPU * self._fsync)
            if self._fsync:
                yield self._env.timeout(self._noise((1 - DISK_CPU) * self._fsync))
            self.busy += self._env.now - begin
        if here:
            python.take_back()
        return [True] * len(requests)

    def _write(self, thread: Thread, rows: int, turns: int) -> Process:
        yield thread.work("commit", self._times.store_commit_base, next_=True)
        for _ in range(turns):
            yield thread.work("commit", self._times.store_commit_row * rows / turns, next_=True)


@dataclass(slots=True)
class _Call:
    loads: int
    commits: int
    done: simpy.Event


class Shard:
    """A server of one thread, as Valkey is: it takes all calls that wait, does them, syncs its log once and answers.

    The time in the network is spent before a call arrives, on the way there for both ways.
    """

    def __init__(self, env: simpy.Environment, costs: ShardCosts, fsync: float, noise: Noise) -> None:
        """Take what calls cost, and the seconds that the log takes to reach the disk, 0 to not wait for it."""
        self._env, self._costs, self._fsync, self._noise = env, costs, fsync, noise
        self._waiting: list[_Call] = []
        self._running = False
        self.away = False
        self.busy: dict[str, float] = defaultdict(float)
        """Seconds by what they were spent on: ``cpu`` and ``disk``."""

    def ask(self, loads: int, commits: int) -> simpy.Event:
        """Give the answer of a call: whether the shard was there."""
        call = _Call(loads, commits, self._env.event())
        arrival = self._env.timeout(self._costs.round_trip)
        assert arrival.callbacks is not None
        arrival.callbacks.append(lambda _: self._arrive(call))
        return call.done

    def _arrive(self, call: _Call) -> None:
        if self.away:
            call.done.succeed(False)
            return
        self._waiting.append(call)
        if not self._running:
            self._running = True
            self._env.process(self._serve_while_waiting())

    def _serve_while_waiting(self) -> Process:
        costs = self._costs
        while self._waiting:
            calls, self._waiting = self._waiting, []
            loads, commits = sum(call.loads for call in calls), sum(call.commits for call in calls)
            cpu = costs.shard_base * len(calls) + costs.shard_load_row * loads + costs.shard_commit_row * commits
            cpu, disk = self._noise(cpu), self._noise(self._fsync) if commits else 0.0
            self.busy["cpu"] += cpu
            self.busy["disk"] += disk
            yield self._env.timeout(cpu + disk)
            for call in calls:
                call.done.succeed(not self.away)
        self._running = False


class Shards:
    """Servers among which sessions are spread; a worker sends each of them its part of a group, all at once."""

    near = quick = False

    def __init__(self, shards: Sequence[Shard], costs: ShardCosts) -> None:
        """Take the servers, and what asking them costs a worker."""
        self._shards, self._costs = shards, costs

    def seconds(self, rows: int) -> float:
        """Say that nobody knows: others send to the shards as well."""
        return math.inf

    def load(self, python: Thread, requests: Sequence[Request]) -> Results:
        """Read sessions; what packing and reading costs a worker is spent before the call is sent."""
        parts = Counter(request.shard for request in requests)
        costs = self._costs
        yield python.work("load", costs.client_base * len(parts) + costs.client_load_row * len(requests))
        calls = {shard: self._shards[shard].ask(rows, 0) for shard, rows in parts.items()}
        return (yield from _answers(calls, requests))

    def commit(self, python: Thread, kernel: Thread, requests: Sequence[Request], here: bool) -> Results:
        """Keep sessions; a shard that is away fails its own part alone."""
        parts = Counter(request.shard for request in requests)
        costs = self._costs
        yield python.work("commit", costs.client_base * len(parts) + costs.client_commit_row * len(requests))
        calls = {shard: self._shards[shard].ask(0, rows) for shard, rows in parts.items()}
        return (yield from _answers(calls, requests))


def _answers(calls: dict[int, simpy.Event], requests: Sequence[Request]) -> Results:
    # simpy sends values in, which the iterator of a dict does not take.
    for call in calls.values():  # noqa: UP028
        yield call
    return [bool(calls[request.shard].value) for request in requests]
