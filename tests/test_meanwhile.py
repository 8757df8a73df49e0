"""Work that is offered is done in the event loop while another thread waits, and by whoever offered it otherwise."""

import asyncio
import threading

import pytest

from service.meanwhile import Meanwhile

pytestmark = pytest.mark.anyio


async def test_what_is_offered_is_done_in_the_loop_while_another_thread_waits():
    meanwhile, done, threads = Meanwhile(), threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        done.set()

    def waits() -> bool:
        meanwhile.begin()
        return done.wait(10)

    meanwhile.offer(work)
    assert await asyncio.to_thread(waits)
    assert threads == [threading.current_thread()]


async def test_each_piece_of_work_is_done_once_and_one_that_fails_keeps_no_other_from_it():
    meanwhile, done = Meanwhile(), []

    def fails() -> None:
        done.append("fails")
        raise ValueError("out of order")

    meanwhile.offer(fails)
    meanwhile.offer(lambda: done.append("works"))
    for _ in range(2):
        await asyncio.to_thread(meanwhile.begin)
        await asyncio.sleep(0.01)
    assert sorted(done) == ["fails", "works"]


async def test_what_was_withdrawn_is_not_done():
    meanwhile, done = Meanwhile(), []
    meanwhile.begin()

    def late() -> None:
        done.append("late")

    meanwhile.offer(late)
    # The loop has no turn before the work is withdrawn.
    thread = threading.Thread(target=meanwhile.begin)
    thread.start()
    thread.join()
    meanwhile.withdraw(late)
    await asyncio.sleep(0.01)
    assert done == []


def test_a_loop_that_is_closed_keeps_nobody_from_waiting():
    meanwhile = Meanwhile()

    async def offered() -> None:
        meanwhile.offer(lambda: None)

    asyncio.run(offered())
    meanwhile.begin()
