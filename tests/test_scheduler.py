"""Continuous batching, over an engine of a dozen lines whose ticks a test can count and hold."""

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from service.errors import EngineFailed, Overloaded
from service.jobs import Outcome, Step
from service.scheduler import Scheduler

MAX_QUEUE = 20_000


class Engine:
    """Doubles its inputs; the state is every input so far. A tick with a negative input fails."""

    def __init__(self) -> None:
        self.ticks: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()

    def step(self, inputs: Sequence[int], states: Sequence[bytes]) -> tuple[np.ndarray, list[bytes]]:
        self.ticks.append(list(inputs))
        self.begun.release()
        self.free.wait()
        if min(inputs) < 0:
            raise RuntimeError("the engine is on fire")
        return np.array(inputs) * 2, [s + bytes([v]) for v, s in zip(inputs, states, strict=True)]

    def tick_of(self, value: int) -> int:
        return next(number for number, tick in enumerate(self.ticks) if value in tick)


def read_all(_: Sequence[Any], outputs: np.ndarray) -> list[int]:
    return outputs.tolist()


def with_what_it_is_about(abouts: Sequence[Any], outputs: np.ndarray) -> list[tuple[Any, int]]:
    return list(zip(abouts, outputs.tolist(), strict=True))


def steps_of(*values: int) -> list[Step[int]]:
    return [Step(value, read_all) for value in values]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def scheduler(engine: Engine) -> Iterator[Scheduler[int]]:
    scheduler = Scheduler(engine, max_batch=4, max_queue=MAX_QUEUE)
    yield scheduler
    engine.free.set()
    scheduler.close()


def run(test: Coroutine[Any, Any, None], caplog: pytest.LogCaptureFixture) -> None:
    """Run a test in a loop of its own; nothing may be left running in it, nor an error that nobody saw."""

    async def checked() -> None:
        await test
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with caplog.at_level(logging.WARNING, logger="asyncio"):
        asyncio.run(checked())
        gc.collect()
    assert not caplog.records


def test_a_job_gets_its_answers_in_order_and_its_last_state(scheduler, engine, caplog):
    async def test() -> None:
        assert await scheduler.run(b"\x09", steps_of(1, 2, 3)) == Outcome([2, 4, 6], b"\x09\x01\x02\x03")
        assert engine.ticks == [[1], [2], [3]]

    run(test(), caplog)


def test_only_steps_that_are_read_are_answered(scheduler, caplog):
    async def test() -> None:
        steps = [Step(1), Step(2, read_all), Step(3), Step(4, with_what_it_is_about, "eight")]
        assert (await scheduler.run(b"", steps)).answers == [4, ("eight", 8)]

    run(test(), caplog)


def test_a_job_without_steps_is_through_at_once(scheduler, engine, caplog):
    async def test() -> None:
        assert await scheduler.run(b"state", []) == Outcome([], b"state")
        assert not engine.ticks

    run(test(), caplog)


def test_steps_that_come_in_one_turn_share_a_tick_unless_they_have_waited_for_each_other_elsewhere(engine, caplog):
    async def test() -> None:
        scheduler = Scheduler(engine, max_batch=4, max_queue=MAX_QUEUE, brief=0.9)
        await scheduler.run(b"", steps_of(9))
        await asyncio.gather(*(scheduler.run(b"", steps_of(value)) for value in (1, 2, 3)))
        gathered = [scheduler.run_all([(b"", steps_of(value))], since=time.perf_counter()) for value in (4, 5)]
        assert [[outcome.answers for outcome in one] for one in await asyncio.gather(*gathered)] == [[[8]], [[10]]]
        assert engine.ticks == [[9], [1, 2, 3], [4], [5]]
        scheduler.close()

    run(test(), caplog)


def test_jobs_of_any_length_get_their_own_answers(scheduler, engine, caplog):
    async def test() -> None:
        jobs = [[(7 * job + step) % 100 for step in range(job % 9)] for job in range(50)]
        outcomes = await asyncio.gather(*(scheduler.run(bytes([job]), steps_of(*jobs[job])) for job in range(50)))
        assert [outcome.answers for outcome in outcomes] == [[2 * value for value in job] for job in jobs]
        assert [outcome.state for outcome in outcomes] == [bytes([job, *jobs[job]]) for job in range(50)]
        assert sum(map(len, engine.ticks)) == sum(map(len, jobs))

    run(test(), caplog)


def test_ticks_are_full_while_enough_jobs_wait_and_never_fuller(scheduler, engine, caplog):
    async def test() -> None:
        await asyncio.gather(*(scheduler.run(b"", steps_of(1, 2, 3)) for _ in range(10)))
        assert [len(tick) for tick in engine.ticks] == [4, 4, 4, 4, 4, 4, 4, 2]

    run(test(), caplog)


@pytest.mark.parametrize("brief", [0.9, 1e-9])
def test_a_tick_that_is_likely_to_be_brief_runs_in_the_event_loop_and_lets_others_join(engine, caplog, brief: float):
    threads: list[threading.Thread] = []

    def read(_: Sequence[Any], outputs: np.ndarray) -> list[int]:
        threads.append(threading.current_thread())
        return outputs.tolist()

    async def test() -> None:
        scheduler = Scheduler(engine, max_batch=4, max_queue=MAX_QUEUE, brief=brief)
        engine.free.clear()
        long = asyncio.create_task(scheduler.run(b"", [Step(1, read)] * 50))
        await asyncio.to_thread(engine.begun.acquire)
        engine.free.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert (await scheduler.run(b"", steps_of(5))).answers == [10]
        assert (await long).answers == [2] * 50
        assert max(map(len, engine.ticks)) == 2
        on_loop = [thread is threading.current_thread() for thread in threads]
        # How long the first of its size takes is not known before: that of one row, and that of two.
        assert not on_loop[0]
        assert on_loop.count(False) == (2 if brief > 0.1 else 50)
        scheduler.close()

    run(test(), caplog)


def test_what_comes_during_a_tick_shares_the_next_one(scheduler, engine, caplog):
    async def test() -> None:
        engine.free.clear()
        first = asyncio.create_task(scheduler.run(b"", steps_of(1)))
        await asyncio.to_thread(engine.begun.acquire)
        others = [asyncio.create_task(scheduler.run(b"", steps_of(value))) for value in (2, 3, 4)]
        await asyncio.sleep(0)
        engine.free.set()
        await asyncio.gather(first, *others)
        assert engine.ticks == [[1], [2, 3, 4]]

    run(test(), caplog)


def test_a_long_job_never_blocks_short_ones(scheduler, engine, caplog):
    async def test() -> None:
        long = asyncio.create_task(scheduler.run(b"", [Step(0)] * 2000))
        await asyncio.to_thread(engine.begun.acquire)
        for value in range(1, 30):
            before = len(engine.ticks)
            await scheduler.run(b"", steps_of(value))
            assert engine.tick_of(value) <= before + 1
        assert not long.done()
        assert len((await long).state) == 2000
        assert len(engine.ticks) == 2000

    run(test(), caplog)


def test_more_long_jobs_than_a_tick_has_rows_take_turns_with_a_short_one(scheduler, engine, caplog):
    async def test() -> None:
        long = [asyncio.create_task(scheduler.run(b"", [Step(0)] * 500)) for _ in range(16)]
        await asyncio.to_thread(engine.begun.acquire)
        before = len(engine.ticks)
        await scheduler.run(b"", steps_of(1))
        assert engine.tick_of(1) <= before + 16 // 4 + 1
        await asyncio.gather(*long)

    run(test(), caplog)


def test_a_request_that_is_cancelled_leaves_its_rows(scheduler, engine, caplog):
    async def test() -> None:
        engine.free.clear()
        leaving = asyncio.create_task(scheduler.run(b"", steps_of(*[7] * 100)))
        waiting = asyncio.create_task(scheduler.run(b"", steps_of(8)))
        staying = asyncio.create_task(scheduler.run(b"", steps_of(1, 2, 3)))
        await asyncio.to_thread(engine.begun.acquire)
        late = asyncio.create_task(scheduler.run(b"", steps_of(9)))
        await asyncio.sleep(0)
        for task in (leaving, late):
            task.cancel()
        await asyncio.wait([leaving, late])
        engine.free.set()
        assert (await staying).answers == [2, 4, 6]
        assert (await waiting).answers == [16]
        assert leaving.cancelled()
        assert late.cancelled()
        assert engine.ticks == [[7, 8, 1], [2], [3]]

    run(test(), caplog)


def test_a_failure_of_the_engine_reaches_every_job_of_the_tick_and_no_other(scheduler, engine, caplog):
    async def test() -> None:
        jobs = [[1, 2], [-1], [3, 4], [5], [6, 7]]
        results = await asyncio.gather(*(scheduler.run(b"", steps_of(*job)) for job in jobs), return_exceptions=True)
        assert [type(result) for result in results] == [EngineFailed] * 4 + [Outcome]
        assert {str(result.__cause__) for result in results[:4]} == {"the engine is on fire"}
        assert results[4].answers == [12, 14]
        assert engine.ticks == [[1, -1, 3, 5], [6], [7]]
        assert (await scheduler.run(b"", steps_of(8))).answers == [16]

    run(test(), caplog)


def test_a_job_can_fail_at_its_last_step(scheduler, engine, caplog):
    async def test() -> None:
        with pytest.raises(EngineFailed):
            await scheduler.run(b"", steps_of(1, 2, -3))
        assert engine.ticks == [[1], [2], [-3]]

    run(test(), caplog)


def test_a_reader_that_fails_hurts_its_own_job_and_no_other(scheduler, engine, caplog):
    reads: list[tuple[list[Any], list[int]]] = []

    def read(abouts: Sequence[Any], outputs: np.ndarray) -> list[int]:
        reads.append((list(abouts), outputs.tolist()))
        if "bad" in abouts:
            raise ValueError(f"cannot read {outputs[abouts.index('bad')]}")
        return outputs.tolist()

    async def test() -> None:
        jobs = [[Step(1, read, "good"), Step(2)], [Step(3, read, "bad"), Step(4)], [Step(5, read, "good"), Step(6)]]
        results = await asyncio.gather(*(scheduler.run(b"", job) for job in jobs), return_exceptions=True)
        assert [result.answers for result in (results[0], results[2])] == [[2], [10]]
        assert isinstance(results[1], EngineFailed)
        assert str(results[1].__cause__) == "cannot read 6"
        assert reads[0] == (["good", "bad", "good"], [2, 6, 10])
        assert engine.ticks == [[1, 3, 5], [2, 6]]
        assert (await scheduler.run(b"", steps_of(8))).answers == [16]

    run(test(), caplog)


def test_everything_cancelled_leaves_a_scheduler_that_works(scheduler, engine, caplog):
    async def test() -> None:
        engine.free.clear()
        tasks = [asyncio.create_task(scheduler.run(b"", steps_of(1, 2, 3))) for _ in range(9)]
        await asyncio.to_thread(engine.begun.acquire)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        engine.free.set()
        assert (await scheduler.run(b"", steps_of(4))).answers == [8]
        assert engine.ticks == [[1, 1, 1, 1], [4]]

    run(test(), caplog)


def test_nothing_of_a_job_is_kept_when_it_is_through(scheduler, caplog):
    class Reader:
        def __call__(self, _: Sequence[Any], outputs: np.ndarray) -> list[int]:
            return outputs.tolist()

    async def test() -> None:
        reader, leaver = Reader(), Reader()
        kept = [weakref.ref(reader), weakref.ref(leaver)]
        left = asyncio.create_task(scheduler.run(b"", [Step(1, leaver)] * 50))
        await scheduler.run(b"", [Step(1, reader)] * 3)
        left.cancel()
        await asyncio.wait([left])
        del reader, leaver, left
        await scheduler.run(b"", steps_of(1))
        gc.collect()
        assert [reference() for reference in kept] == [None, None]

    run(test(), caplog)


def test_a_scheduler_that_was_closed_refuses(caplog):
    async def test() -> None:
        scheduler = Scheduler(Engine(), max_batch=4, max_queue=MAX_QUEUE)
        scheduler.close()
        with pytest.raises(EngineFailed):
            await scheduler.run(b"", steps_of(1))

    run(test(), caplog)


async def holding(scheduler: Scheduler[int], engine: Engine, steps: int) -> "asyncio.Task[Outcome]":
    """Run a job whose first step holds the engine until it is freed."""
    engine.free.clear()
    job = asyncio.create_task(scheduler.run(b"", [Step(1)] * steps))
    await asyncio.to_thread(engine.begun.acquire)
    return job


def test_a_job_that_would_pass_the_most_that_may_wait_is_refused_and_one_that_fits_is_not(scheduler, engine, caplog):
    async def test() -> None:
        first = await holding(scheduler, engine, MAX_QUEUE - 10)
        with pytest.raises(Overloaded):
            await scheduler.run(b"", steps_of(*range(11)))
        fits = asyncio.create_task(scheduler.run(b"", steps_of(*range(10))))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await scheduler.run(b"", steps_of(1))
        engine.free.set()
        assert (await fits).answers == list(range(0, 20, 2))
        first.cancel()
        await asyncio.wait([first])
        # The tick that the first was in may still run.
        await scheduler.run(b"", steps_of(1))

    run(test(), caplog)


def test_a_job_of_any_length_is_taken_if_no_other_waits(scheduler, engine, caplog):
    async def test() -> None:
        long = await holding(scheduler, engine, 2 * MAX_QUEUE)
        with pytest.raises(Overloaded):
            await scheduler.run(b"", steps_of(1))
        long.cancel()
        await asyncio.wait([long])
        engine.free.set()
        assert (await scheduler.run(b"", steps_of(1))).answers == [2]

    run(test(), caplog)


def test_what_is_through_or_failed_or_left_makes_room(scheduler, engine, caplog):
    def refuse(_: Sequence[Any], outputs: np.ndarray) -> list[int]:
        raise ValueError(f"cannot read {outputs}")

    async def test() -> None:
        for _ in range(3):
            jobs = [steps_of(*range(100)), [Step(1)] * 50 + [Step(-1)] * 50, [Step(1, refuse)] * 100]
            tasks = [asyncio.create_task(scheduler.run(b"", job)) for job in jobs]
            leaving = asyncio.create_task(scheduler.run(b"", [Step(0)] * (MAX_QUEUE - 300)))
            for _ in range(20):
                await asyncio.to_thread(engine.begun.acquire)
            leaving.cancel()
            await asyncio.gather(*tasks, leaving, return_exceptions=True)
            engine.ticks.clear()
        first = await holding(scheduler, engine, MAX_QUEUE - 1)
        last = asyncio.create_task(scheduler.run(b"", steps_of(1)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await scheduler.run(b"", steps_of(1))
        first.cancel()
        engine.free.set()
        assert (await last).answers == [2]

    run(test(), caplog)


def test_the_rest_of_a_job_that_leaves_makes_room_at_once(scheduler, engine, caplog):
    async def test() -> None:
        first = await holding(scheduler, engine, 10)
        leaving = asyncio.create_task(scheduler.run(b"", [Step(1)] * (MAX_QUEUE - 10)))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        staying = asyncio.create_task(scheduler.run(b"", [Step(1)] * 1000))
        await asyncio.sleep(0)
        engine.free.set()
        await asyncio.gather(first, staying)

    run(test(), caplog)


def test_a_refusal_says_in_how_many_milliseconds_what_waits_is_likely_to_be_through(scheduler, engine, caplog):
    async def test() -> None:
        engine.step = slowly(engine.step)
        await scheduler.run(b"", [Step(1)] * 20)
        first = await holding(scheduler, engine, MAX_QUEUE)
        with pytest.raises(Overloaded) as refused:
            await scheduler.run(b"", steps_of(1))
        estimate = refused.value.extra["retry_after_ms"]
        assert 5 * MAX_QUEUE <= estimate < 50 * MAX_QUEUE
        assert refused.value.headers() == {"Retry-After": str(-(-estimate // 1000))}
        first.cancel()
        await asyncio.wait([first])
        engine.free.set()
        await scheduler.run(b"", steps_of(1))

    def slowly(step):
        def slow(*arguments):
            time.sleep(0.005)
            return step(*arguments)

        return slow

    run(test(), caplog)
