"""Reads jobs of any length and gives each its answers, in ticks: one step for every job that waits, then the next.

A job with 80 steps is a row for 80 ticks; one with a single step joins the next tick and leaves. Nothing waits for a
timer or for a longer neighbour. What a step or a state means is the engine's business, what an answer is the reader's.
The queue is bounded: beyond it a job is refused at once, and told when to come again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy.typing as npt

from service.errors import EngineFailed, Overloaded
from service.metrics import Meter
from service.pace import Pace
from service.timing import NETWORK, SCHEDULER, Timing, current_timing

Input = TypeVar("Input")
Input_contra = TypeVar("Input_contra", contravariant=True)
Rows = npt.NDArray[Any]


class Steps(Protocol[Input_contra]):
    """What the scheduler needs of an engine."""

    def step(self, inputs: Sequence[Input_contra], states: Sequence[bytes]) -> tuple[Rows, list[bytes]]:
        """Give a row of output and a new state for every row."""


# Makes answers of what their steps are about, one a row, and of the rows that the engine gave for them.
Read = Callable[[Sequence[Any], Rows], Sequence[Any]]


class Step(NamedTuple, Generic[Input]):
    """One step of a job; ``read`` makes an answer of its output and of what it is ``about``, None wants none.

    Steps of one tick with the same ``read`` are read together, and no answer may depend on the others. The state after
    a step is given if it ``shows`` it.
    """

    input: Input
    read: Read | None = None
    about: Any = None
    shows: bool = False


class Outcome(NamedTuple):
    """What a job gave: the answers of the steps that were read and the states of those that show them, in order."""

    answers: list[Any]
    state: bytes
    """After the last step."""
    states: tuple[bytes, ...] = ()


@dataclass(slots=True, eq=False)
class _Asked:
    """Jobs that were asked for together, and are answered when the last of them is through."""

    left: int
    done: asyncio.Future[None]
    timing: Timing | None
    computed: float = 0.0
    """Seconds of the ticks in which it took part."""
    ticked: float = 0.0
    """When the last of these ended."""

    def tick(self, begun: float, ended: float, rows: int) -> None:
        """Take the time of a tick, once for all jobs that were in it."""
        if self.ticked != ended:
            self.ticked = ended
            self.computed += ended - begun
            if self.timing is not None:
                self.timing.add(NETWORK, begun, ended, rows)


@dataclass(slots=True, eq=False)
class _Job(Generic[Input]):
    state: bytes
    steps: Sequence[Step[Input]]
    asked: _Asked
    answers: list[Any] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    taken: int = 0
    failure: Exception | None = None

    @property
    def step(self) -> Step[Input]:
        return self.steps[self.taken]

    @property
    def left(self) -> int:
        return len(self.steps) - self.taken

    @property
    def outcome(self) -> Outcome | EngineFailed:
        if self.failure is not None:
            return _failure(self.failure)
        return Outcome(self.answers, self.state, tuple(self.states))


class Scheduler(Generic[Input]):
    """Continuous batching over one engine, whose longer steps run on a thread of their own."""

    def __init__(
        self,
        engine: Steps[Input],
        max_batch: int,
        max_queue: int,
        thread: ThreadPoolExecutor | None = None,
        brief: float = 0.0,
        meter: Meter | None = None,
    ) -> None:
        """Take the engine, the most rows of a tick, the most steps that may wait, and what counts them.

        A tick that is likely to take no more than ``brief`` seconds runs in the event loop: the way to the thread and
        back, and the race for the interpreter, would cost more than it gains.
        """
        self._engine, self._max_batch, self._max_queue, self._brief = engine, max_batch, max_queue, brief
        self._waiting: deque[_Job[Input]] = deque()
        self._queued = 0
        self._meter = meter or Meter("", "")
        self._pace = Pace()
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._ticking: asyncio.Task[None] | None = None

    def beside(self, engine: Steps[Input]) -> "Scheduler[Input]":
        """Give a scheduler over another engine, whose ticks take turns with these on the same thread."""
        return Scheduler(engine, self._max_batch, self._max_queue, self._thread, meter=self._meter)

    async def run(self, state: bytes, steps: Sequence[Step[Input]]) -> Outcome:
        """Take the steps one after another from ``state``; EngineFailed if the engine does.

        Overloaded if others wait and the queue would grow too long; jobs of any length are taken if none does.
        A caller that is cancelled leaves: its rows are free from the next tick on.
        """
        if not steps:
            return Outcome([], state)
        (outcome,) = await self.run_all([(state, steps)])
        if isinstance(outcome, EngineFailed):
            raise outcome
        return outcome

    async def run_all(self, lines: Sequence[tuple[bytes, Sequence[Step[Input]]]]) -> list[Outcome | EngineFailed]:
        """Do what ``run`` does with many states and their steps, at least one each, in as few ticks as that takes."""
        steps = sum(len(steps) for _, steps in lines)
        if self._queued and self._queued + steps > self._max_queue:
            raise Overloaded(f"{self._queued} steps wait already", self._pace.milliseconds(self._queued))
        begun = time.perf_counter()
        asked = _Asked(len(lines), asyncio.get_running_loop().create_future(), current_timing())
        jobs = [_Job(state, steps, asked) for state, steps in lines]
        self._waiting += jobs
        self._queued += steps
        self._meter.waiting.value += steps
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick_while_waiting())
        try:
            await asked.done
        finally:
            left = sum(job.left for job in jobs)
            self._queued -= left
            self._meter.waiting.value -= left
            self._leave(asked, begun, steps)
        return [job.outcome for job in jobs]

    def _leave(self, asked: _Asked, begun: float, steps: int) -> None:
        """Count how long steps that were asked for waited, and tell it to whom they were for."""
        ended = time.perf_counter()
        self._meter.waited(max(0.0, ended - begun - asked.computed))
        if asked.timing is not None:
            asked.timing.add(SCHEDULER, begun, ended, steps)

    def close(self) -> None:
        """Let the thread end once its tick is done."""
        self._thread.shutdown(wait=True)

    async def _tick_while_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            begun = time.perf_counter()
            try:
                if self._pace.seconds(len(batch)) <= self._brief:
                    self._tick(batch)
                    # A long job must not keep the loop from what else there is to do.
                    await asyncio.sleep(0)
                else:
                    await loop.run_in_executor(self._thread, self._tick, batch)
            except Exception as error:
                for job in batch:
                    job.failure = error
            else:
                self._pace.add(len(batch), time.perf_counter() - begun)
            self._settle(batch, begun)
        self._ticking = None

    def _next_batch(self) -> list[_Job[Input]]:
        batch: list[_Job[Input]] = []
        while self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            if not job.asked.done.done():
                batch.append(job)
        return batch

    def _tick(self, batch: list[_Job[Input]]) -> None:
        """Take one step of every job, and read the answers from it."""
        steps = [job.step for job in batch]
        outputs, states = self._engine.step([step.input for step in steps], [job.state for job in batch])
        readers: dict[Read, list[int]] = {}
        for row, step in enumerate(steps):
            batch[row].state = states[row]
            if step.shows:
                batch[row].states.append(states[row])
            if step.read is not None:
                readers.setdefault(step.read, []).append(row)
        for read, rows in readers.items():
            _read(read, [batch[row] for row in rows], outputs if len(rows) == len(batch) else outputs[rows])

    def _settle(self, batch: list[_Job[Input]], begun: float) -> None:
        """Answer the jobs that are through; the others wait behind those that came meanwhile."""
        ended = time.perf_counter()
        self._meter.ticked(len(batch), ended - begun)
        for job in batch:
            asked = job.asked
            if asked.done.done():
                continue
            asked.tick(begun, ended, len(batch))
            job.taken += 1
            self._queued -= 1
            self._meter.waiting.value -= 1
            if job.left and job.failure is None:
                self._waiting.append(job)
                continue
            asked.left -= 1
            if not asked.left:
                asked.done.set_result(None)


def _read(read: Read, jobs: list[_Job[Input]], outputs: Rows) -> None:
    """Read the answers of jobs; one that cannot be read is its job's failure, and no other's."""
    try:
        answers = read([job.step.about for job in jobs], outputs)
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].failure = error
            return
        for row, job in enumerate(jobs):
            _read(read, [job], outputs[row : row + 1])
    else:
        for job, answer in zip(jobs, answers, strict=True):
            job.answers.append(answer)


def _failure(error: Exception) -> EngineFailed:
    failure = EngineFailed("the engine failed on this batch; nothing was applied, the request can be sent again")
    failure.__cause__ = error
    return failure
