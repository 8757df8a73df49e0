"""Turns: one at a time for a key, in the order in which they were asked for, whoever leaves meanwhile."""

import asyncio

import pytest

from service.deadline import begin_deadline
from service.errors import DeadlinePassed
from service.turns import Turns

pytestmark = pytest.mark.anyio


async def test_those_who_want_the_same_take_turns_in_their_order_and_others_need_not_wait():
    turns, told = Turns(), []

    async def work(key: str, name: str) -> None:
        await turns.take(key)
        told.append(f"{name} begins")
        await asyncio.sleep(0.01)
        told.append(f"{name} ends")
        turns.give_back(key)

    await asyncio.gather(*(work("a", name) for name in "pqr"), work("b", "other"))
    of_a = [line for line in told if not line.startswith("other")]
    assert of_a == ["p begins", "p ends", "q begins", "q ends", "r begins", "r ends"]
    assert told.index("other begins") < told.index("p ends")


async def test_one_who_leaves_or_has_no_time_left_is_passed_over():
    turns = Turns()
    await turns.take("a")
    leaving = asyncio.create_task(turns.take("a"))
    begin_deadline(20)
    late = asyncio.create_task(turns.take("a"))
    begin_deadline(None)
    waiting = asyncio.create_task(turns.take("a"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(DeadlinePassed):
        await late
    assert not waiting.done()
    turns.give_back("a")
    await waiting
    turns.give_back("a")


async def test_a_turn_given_to_one_who_leaves_in_that_moment_goes_to_the_next():
    turns = Turns()
    await turns.take("a")
    leaving, waiting = (asyncio.create_task(turns.take("a")) for _ in range(2))
    await asyncio.sleep(0)
    turns.give_back("a")
    leaving.cancel()
    await asyncio.wait_for(waiting, 1)
    turns.give_back("a")
    await asyncio.wait_for(turns.take("a"), 1)


async def test_one_whose_time_was_over_before_it_asked_is_given_no_turn():
    turns = Turns()
    await turns.take("a")
    begin_deadline(0)
    with pytest.raises(DeadlinePassed):
        await turns.take("a")
    begin_deadline(None)
    turns.give_back("a")
    assert turns.take_at_once("a")
