"""Reads single items and gives each its result, many in one call: what comes while a call runs goes into the next."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from service.errors import Problem, StoreFailed
from service.metrics import Tally
from service.pace import PaceBySize

Item = TypeVar("Item")
Result = TypeVar("Result")


class Group(Generic[Item, Result]):
    """Groups calls to a function of many items, which runs on ``executor``.

    Without one it runs in the event loop: there nothing can come meanwhile, and each call is its own.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Sequence[Result]],
        executor: Executor | None,
        tally: Tally | None = None,
        brief: float = 0.0,
    ) -> None:
        """Take a function that gives one result per item, in order; ``tally`` counts the seconds of all its calls.

        ``brief`` is how many seconds a call may keep the event loop: see ``gathered``.
        """
        self._call, self._executor, self._tally, self._brief = call, executor, tally, brief
        self._pace = PaceBySize()
        self._waiting: list[tuple[Sequence[Item], asyncio.Future[Sequence[Result]]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Give the result of one item; StoreFailed if the call it was part of failed."""
        (result,) = await self.all([item])
        return result

    async def all(self, items: Sequence[Item]) -> Sequence[Result]:
        """Give the results of many items, which stay together; StoreFailed if the call they were part of failed."""
        if self._executor is None:
            return self._here(items)
        future: asyncio.Future[Sequence[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run_while_waiting())
        # A commit that was begun is finished, even for a caller who is gone: it would be half known otherwise.
        return await future

    async def gathered(self, items: Sequence[Item]) -> Sequence[Result]:
        """Do what ``all`` does with items behind which nobody is likely to come.

        They run in the event loop if calls were brief lately: the way to the executor and back, and the race for the
        interpreter, would keep it nearly as long.
        """
        if self._running is None and self._pace.seconds(len(items)) <= self._brief:
            return self._here(items)
        return await self.all(items)

    def _here(self, items: Sequence[Item]) -> Sequence[Result]:
        begun = time.perf_counter()
        try:
            return self._checked(items)
        except Exception as error:
            failure = _failure(error)
            raise failure from failure.__cause__
        finally:
            self._count(len(items), begun)

    async def _run_while_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            items = [item for together, _ in group for item in together]
            begun = time.perf_counter()
            try:
                results = await loop.run_in_executor(self._executor, self._checked, items)
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(_failure(error))
            else:
                first = 0
                for together, future in group:
                    if not future.done():
                        future.set_result(results[first : first + len(together)])
                    first += len(together)
            self._count(len(items), begun)
        self._running = None

    def _checked(self, items: Sequence[Item]) -> Sequence[Result]:
        results = self._call(items)
        if len(results) != len(items):
            raise ValueError(f"{len(results)} results of {len(items)} items")
        return results

    def _count(self, items: int, begun: float) -> None:
        seconds = time.perf_counter() - begun
        if self._brief:
            self._pace.add(items, seconds)
        if self._tally is not None:
            self._tally.add(seconds)


def _failure(error: Exception) -> Problem:
    failure = error if isinstance(error, Problem) else StoreFailed("the session store failed; ask for the session")
    if failure is not error:
        failure.__cause__ = error
    return failure
