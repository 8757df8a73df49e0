"""Single items that come at the same time go into one call, and whatever becomes of it reaches every one of them."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import Problem, StoreFailed, UnknownSession
from service.grouping import Group


class Square:
    """Squares what it is given, and can be held while it does; 0 fails, 1 is a problem, 2 is forgotten."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.calls.append(list(items))
        self.begun.release()
        self.free.wait()
        if 0 in items:
            raise OSError("no space left")
        if 1 in items:
            raise UnknownSession("nobody is there")
        return [item * item for item in items if item != 2]


@pytest.fixture
def square() -> Square:
    return Square()


@pytest.fixture
def group(square: Square) -> Iterator[Group[int, int]]:
    with ThreadPoolExecutor(1) as executor:
        yield Group(square, executor)
        square.free.set()


async def begin(group: Group[int, int], square: Square, first: int, *others: int) -> list[asyncio.Task[int]]:
    """Let ``first`` be in a call that is held, and the others wait behind it."""
    square.free.clear()
    tasks = [asyncio.create_task(group(first))]
    await asyncio.to_thread(square.begun.acquire)
    tasks += [asyncio.create_task(group(item)) for item in others]
    await asyncio.sleep(0)
    return tasks


def test_items_that_come_together_share_a_call_and_get_their_own_results(group, square):
    async def test() -> None:
        assert await asyncio.gather(*map(group, range(3, 9))) == [9, 16, 25, 36, 49, 64]
        assert square.calls == [[3, 4, 5, 6, 7, 8]]

    asyncio.run(test())


def test_what_comes_while_a_call_runs_goes_into_the_next(group, square):
    async def test() -> None:
        tasks = await begin(group, square, 3, 4, 5, 6)
        square.free.set()
        assert await asyncio.gather(*tasks) == [9, 16, 25, 36]
        assert square.calls == [[3], [4, 5, 6]]
        assert await group(7) == 49
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(test())


@pytest.mark.parametrize(("bad", "error"), [(0, StoreFailed), (1, UnknownSession), (2, StoreFailed)])
def test_a_failure_reaches_everyone_in_the_call_and_nobody_else(group, square, bad: int, error: type[Problem]):
    async def test() -> None:
        tasks = await begin(group, square, 3, 4, bad, 5)
        square.free.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == 9
        assert [type(result) for result in results[1:]] == [error] * 3
        assert await group(6) == 36
        assert square.calls == [[3], [4, bad, 5], [6]]

    asyncio.run(test())


def test_a_failure_of_the_store_says_what_failed(group):
    async def test() -> None:
        with pytest.raises(StoreFailed) as failure:
            await group(0)
        assert str(failure.value.__cause__) == "no space left"

    asyncio.run(test())


def test_without_a_thread_each_call_is_its_own_and_fails_alone(square):
    async def test() -> None:
        alone: Group[int, int] = Group(square, None)
        answers = await asyncio.gather(*map(alone, range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreFailed, UnknownSession, StoreFailed, int, int]
        assert [str(answers[0].__cause__), answers[1].__cause__] == ["no space left", None]
        assert answers[3:] == [9, 16]
        assert await alone.all([3, 4]) == [9, 16]
        assert square.calls == [[0], [1], [2], [3], [4], [3, 4]]

    asyncio.run(test())


def test_what_is_gathered_runs_in_the_event_loop_as_long_as_calls_are_brief():
    threads: list[bool] = []
    patience = 0.0

    def square(items: Sequence[int]) -> list[int]:
        threads.append(threading.current_thread() is not threading.main_thread())
        time.sleep(patience)
        return [1 // item for item in items]

    async def test() -> None:
        nonlocal patience
        with ThreadPoolExecutor(1) as executor:
            group: Group[int, int] = Group(square, executor, brief=0.9)
            # How long a call of so many takes is not known at first.
            assert [list(await group.gathered([1, 2])) for _ in range(3)] == [[1, 0]] * 3
            with pytest.raises(StoreFailed):
                await group.gathered([0])
            assert await group(1) == 1
            assert threads == [True, False, False, True, True]
            patience = 2.5
            await group.gathered([1])
            patience = 0
            await group.gathered([1])
            assert threads[5:] == [False, True]

    asyncio.run(test())


def test_few_are_brief_though_many_are_not():
    threads: list[bool] = []

    def slow_for_many(items: Sequence[int]) -> Sequence[int]:
        threads.append(threading.current_thread() is not threading.main_thread())
        time.sleep(0.4 if len(items) > 4 else 0)
        return items

    async def test() -> None:
        with ThreadPoolExecutor(1) as executor:
            group: Group[int, int] = Group(slow_for_many, executor, brief=0.2)
            for _ in range(3):
                await group.gathered([1])
                await group.gathered([1] * 8)
            assert threads == [True, True, False, True, False, True]

    asyncio.run(test())


def test_what_is_gathered_waits_behind_what_runs(square):
    async def test() -> None:
        with ThreadPoolExecutor(1) as executor:
            group: Group[int, int] = Group(square, executor, brief=60)
            assert await group(3) == 9
            tasks = await begin(group, square, 3, 4)
            late = asyncio.create_task(group.gathered([5, 6]))
            await asyncio.sleep(0)
            square.free.set()
            assert await late == [25, 36]
            assert await asyncio.gather(*tasks) == [9, 16]
            assert square.calls == [[3], [3], [4, 5, 6]]

    asyncio.run(test())


def test_a_waiter_that_is_cancelled_does_not_break_the_others(group, square):
    async def test() -> None:
        tasks = await begin(group, square, 3, 4, 5)
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait(tasks[:2])
        square.free.set()
        assert await tasks[2] == 25
        assert [task.cancelled() for task in tasks] == [True, True, False]
        assert await group(6) == 36

    asyncio.run(test())


def test_a_waiter_that_is_cancelled_does_not_break_a_call_that_fails(group, square):
    async def test() -> None:
        tasks = await begin(group, square, 0, 4)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        square.free.set()
        assert await tasks[1] == 16

    asyncio.run(test())
