"""Items are worked on in batches, one after another, which are as large as what comes makes them."""

import asyncio
from contextvars import ContextVar

import pytest
from prometheus_client import Gauge

from service.gathering import Gathering
from service.metrics import Level

pytestmark = pytest.mark.anyio


class Work:
    """Notes its batches, and works on each until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.running = 0

    async def __call__(self, batch: list[int]) -> None:
        self.batches.append(batch)
        self.running += 1
        assert self.running == 1
        await self.go.wait()
        self.running -= 1


class Waiting(Level):
    """A number that nobody else looks at."""

    def __init__(self) -> None:
        super().__init__(Gauge("waiting", "Items that wait", registry=None))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def add(gathering: Gathering[int], *items: int) -> None:
    gathering.add(items)


async def test_what_comes_in_one_turn_is_one_batch():
    work = Work()
    await add(Gathering(work, 10, Waiting()), 1, 2, 3)
    await turns(10)
    assert work.batches == [[1, 2, 3]]


async def test_what_comes_while_a_batch_is_worked_on_is_the_next_however_it_came():
    work = Work()
    waiting = Waiting()
    gathering = Gathering(work, 10, waiting)
    work.go.clear()
    await add(gathering, 1)
    for item in range(2, 8):
        await turns(3)
        await add(gathering, item)
    assert (work.batches, waiting.value) == ([[1]], 6)
    work.go.set()
    await turns(10)
    assert (work.batches, waiting.value) == ([[1], [2, 3, 4, 5, 6, 7]], 0)


async def test_a_batch_holds_no_more_than_it_may_and_items_keep_their_order():
    work = Work()
    await add(Gathering(work, 4, Waiting()), *range(10))
    await turns(20)
    assert work.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_under_load_those_who_are_on_the_way_are_let_in():
    work = Work()
    gathering = Gathering(work, 10, Waiting())
    await add(gathering, 1, 2)
    await turns(10)
    # What one turn of the loop reads from a socket is asked for in the next.
    for item in range(3, 7):
        await add(gathering, item)
        await turns(2)
    await turns(10)
    assert work.batches == [[1, 2], [3, 4, 5, 6]]


async def test_who_was_alone_the_last_time_waits_for_nobody():
    work = Work()
    gathering = Gathering(work, 10, Waiting())
    for item in (1, 2):
        await add(gathering, item)
        await turns(1)
        assert work.batches[-1] == [item]
        await turns(5)


async def test_a_full_batch_does_not_wait_for_more():
    work = Work()
    gathering = Gathering(work, 2, Waiting())
    for items in ((1, 2), (3, 4)):
        await add(gathering, *items)
        await turns(1)
        assert work.batches[-1] == list(items)
        await turns(5)


async def test_it_does_not_count_as_a_part_of_what_its_first_caller_does():
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    async def work(_: list[int]) -> None:
        seen.append(caller.get())

    caller.set("the first")
    Gathering(work, 10, Waiting()).add([1])
    await turns(5)
    assert seen == ["nobody"]
