"""Reads jobs of any length and gives each its answers, in ticks: one step for every job that waits, then the next.

A job with 80 steps is a row for 80 ticks; one with a single step joins the next tick and leaves. Nothing waits for a
timer or for a longer neighbour. What a step or a state means is the engine's business, what an answer is the reader's.
The queue is bounded: beyond it a job is refused at once, and told when to come again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from service.errors import EngineFailed, Overloaded
from service.jobs import Asked, Input, Job, Outcome, Read, Rows, Step
from service.metrics import Level, Meter
from service.pace import Pace, PaceBySize
from service.timing import SCHEDULER, current_timing

Input_contra = TypeVar("Input_contra", contravariant=True)


class Steps(Protocol[Input_contra]):
    """What the scheduler needs of an engine."""

    def step(self, inputs: Sequence[Input_contra], states: Sequence[bytes]) -> tuple[Rows, list[bytes]]:
        """Give a row of output and a new state for every row."""


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

        A tick that is likely to need the processor for no more than ``brief`` seconds runs in the event loop: the way
        to the thread and back, and the race for the interpreter, would cost more than it gains.
        """
        self._engine, self._max_batch, self._max_queue, self._brief = engine, max_batch, max_queue, brief
        self._waiting: deque[Job[Input]] = deque()
        self._queued = 0
        self._meter = meter or Meter("", "")
        # How long steps take, and what they need of the processor: a thread also waits for the interpreter.
        self._pace, self._work = Pace(), PaceBySize()
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

    @property
    def waiting(self) -> Level:
        """The steps that wait, as they are counted; who lets steps wait elsewhere before they come here adds them."""
        return self._meter.waiting

    def admit(self, steps: int) -> None:
        """Pass if so many steps more may wait elsewhere; Overloaded if others wait and they would be too many."""
        self._admit(self._meter.waiting.value, steps)

    def _admit(self, waiting: int, steps: int) -> None:
        if waiting and waiting + steps > self._max_queue:
            raise Overloaded(f"{waiting} steps wait already", self._pace.milliseconds(waiting))

    async def run_all(
        self, lines: Sequence[tuple[bytes, Sequence[Step[Input]]]], since: float | None = None
    ) -> list[Outcome | EngineFailed]:
        """Do what ``run`` does with many states and their steps, at least one each, in as few ticks as that takes.

        ``since`` is when the first of them began to wait for others elsewhere, by ``time.perf_counter``; None if none
        did: then they wait here for what else comes in this turn of the event loop.
        """
        steps = sum(len(steps) for _, steps in lines)
        self._admit(self._queued, steps)
        begun = time.perf_counter()
        asked = Asked(len(lines), asyncio.get_running_loop().create_future(), current_timing())
        jobs = [Job(state, steps, asked) for state, steps in lines]
        self._waiting += jobs
        self._queued += steps
        self._meter.waiting.value += steps
        if self._ticking is None:
            if since is not None and steps == len(jobs) and self._is_brief(steps):
                # Nobody is left to wait for, nothing is left to do afterwards: there is no use in a task.
                self._tick_here(self._next_batch())
            else:
                self._ticking = asyncio.create_task(self._tick_while_waiting())
        try:
            await asked.done
        finally:
            left = sum(job.left for job in jobs)
            self._queued -= left
            self._meter.waiting.value -= left
            self._leave(asked, begun, steps, since)
        return [job.outcome for job in jobs]

    def _leave(self, asked: Asked, begun: float, steps: int, since: float | None) -> None:
        """Count how long steps that were asked for waited, and tell it to whom they were for."""
        ended = time.perf_counter()
        self._meter.waited(max(0.0, ended - (since or begun) - asked.computed))
        if asked.timing is not None:
            asked.timing.add(SCHEDULER, begun, ended, steps)

    def close(self) -> None:
        """Let the thread end once its tick is done."""
        self._thread.shutdown(wait=True)

    async def _tick_while_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            if self._is_brief(len(batch)):
                self._tick_here(batch)
                # A long job must not keep the loop from what else there is to do.
                await asyncio.sleep(0)
            else:
                begun = time.perf_counter()
                try:
                    await loop.run_in_executor(self._thread, self._tick, batch)
                except Exception as error:
                    # The thread has ended.
                    _fail(batch, error)
                self._settle(batch, begun)
        self._ticking = None

    def _is_brief(self, rows: int) -> bool:
        return rows <= self._max_batch and self._work.seconds(rows) <= self._brief

    def _tick_here(self, batch: list[Job[Input]]) -> None:
        begun = time.perf_counter()
        self._tick(batch)
        self._settle(batch, begun)

    def _next_batch(self) -> list[Job[Input]]:
        batch: list[Job[Input]] = []
        while self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            if not job.asked.done.done():
                batch.append(job)
        return batch

    def _tick(self, batch: list[Job[Input]]) -> None:
        """Take one step of every job, and read the answers from it; or note with each what went wrong."""
        try:
            self._take_step(batch)
        except Exception as error:
            _fail(batch, error)

    def _take_step(self, batch: list[Job[Input]]) -> None:
        begun = time.thread_time()
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
        self._work.add(len(batch), time.thread_time() - begun)

    def _settle(self, batch: list[Job[Input]], begun: float) -> None:
        """Answer the jobs that are through; the others wait behind those that came meanwhile."""
        ended = time.perf_counter()
        self._pace.add(len(batch), ended - begun)
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


def _fail(batch: list[Job[Any]], error: Exception) -> None:
    for job in batch:
        job.failure = error


def _read(read: Read, jobs: list[Job[Any]], outputs: Rows) -> None:
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
