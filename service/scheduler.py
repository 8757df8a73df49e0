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
from typing import Any, Generic, Protocol, TypeVar

from service.errors import EngineFailed, Overloaded
from service.pace import Pace

Input = TypeVar("Input")
Input_contra = TypeVar("Input_contra", contravariant=True)


class Steps(Protocol[Input_contra]):
    """What the scheduler needs of an engine."""

    def step(self, inputs: Sequence[Input_contra], states: Sequence[bytes]) -> tuple[Any, list[bytes]]:
        """Give an output and a new state for every row."""


@dataclass(frozen=True, slots=True)
class Step(Generic[Input]):
    """One step of a job; ``read`` makes an answer of the step's output, None wants none."""

    input: Input
    read: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job gave: the answers of the steps that were read, in order, and the state after the last step."""

    answers: list[Any]
    state: bytes


@dataclass(slots=True, eq=False)
class _Job(Generic[Input]):
    steps: Sequence[Step[Input]]
    state: bytes
    done: asyncio.Future[Outcome]
    answers: list[Any] = field(default_factory=list)
    taken: int = 0
    failure: Exception | None = None

    @property
    def step(self) -> Step[Input]:
        return self.steps[self.taken]

    @property
    def left(self) -> int:
        return len(self.steps) - self.taken

    def take(self, output: Any, state: bytes) -> None:
        """Take what the engine gave; a reader that fails is this job's failure, and no other's."""
        try:
            if self.step.read is not None:
                self.answers.append(self.step.read(output))
        except Exception as error:
            self.failure = error
        self.state = state


class Scheduler(Generic[Input]):
    """Continuous batching over one engine, whose steps run on a thread of their own."""

    def __init__(
        self, engine: Steps[Input], max_batch: int, max_queue: int, thread: ThreadPoolExecutor | None = None
    ) -> None:
        """Take the engine, the most rows of a tick and the most steps that may wait."""
        self._engine, self._max_batch, self._max_queue = engine, max_batch, max_queue
        self._waiting: deque[_Job[Input]] = deque()
        self._queued = 0
        self._pace = Pace()
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._ticking: asyncio.Task[None] | None = None

    def beside(self, engine: Steps[Input]) -> "Scheduler[Input]":
        """Give a scheduler over another engine, whose ticks take turns with these on the same thread."""
        return Scheduler(engine, self._max_batch, self._max_queue, self._thread)

    async def run(self, state: bytes, steps: Sequence[Step[Input]]) -> Outcome:
        """Take the steps one after another from ``state``; EngineFailed if the engine does.

        Overloaded if others wait and the queue would grow too long; a job of any length is taken if none does.
        A caller that is cancelled leaves: its rows are free from the next tick on.
        """
        if not steps:
            return Outcome([], state)
        if self._queued and self._queued + len(steps) > self._max_queue:
            raise Overloaded(f"{self._queued} steps wait already", self._pace.milliseconds(self._queued))
        job = _Job(steps, state, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._queued += len(steps)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick_while_waiting())
        try:
            return await job.done
        finally:
            self._queued -= job.left

    def close(self) -> None:
        """Let the thread end once its tick is done."""
        self._thread.shutdown(wait=True)

    async def _tick_while_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            begun = time.monotonic()
            try:
                await loop.run_in_executor(self._thread, self._tick, batch)
            except Exception as error:
                for job in batch:
                    if not job.done.done():
                        job.done.set_exception(_failure(error))
            else:
                self._pace.add(len(batch), time.monotonic() - begun)
                self._settle(batch)
        self._ticking = None

    def _next_batch(self) -> list[_Job[Input]]:
        batch: list[_Job[Input]] = []
        while self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            if not job.done.done():
                batch.append(job)
        return batch

    def _tick(self, batch: list[_Job[Input]]) -> None:
        """Run on the thread: one step of every job, and the answers that are read from it."""
        outputs, states = self._engine.step([job.step.input for job in batch], [job.state for job in batch])
        for job, output, state in zip(batch, outputs, states, strict=True):
            job.take(output, state)

    def _settle(self, batch: list[_Job[Input]]) -> None:
        """Answer the jobs that are through; the others wait behind those that came meanwhile."""
        for job in batch:
            if job.done.done():
                continue
            job.taken += 1
            self._queued -= 1
            if job.failure is not None:
                job.done.set_exception(_failure(job.failure))
            elif job.left:
                self._waiting.append(job)
            else:
                job.done.set_result(Outcome(job.answers, job.state))


def _failure(error: Exception) -> EngineFailed:
    failure = EngineFailed("the engine failed on this batch; nothing was applied, the request can be sent again")
    failure.__cause__ = error
    return failure
