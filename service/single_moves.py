"""Reads what requests wait for, a move of one session or of many, and gives each its answer when it is there."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass

from service import schemas
from service.deadline import Block
from service.timing import BATCH, Timing, current_timing, share_timing


class Asking(ABC):
    """Who asks for moves, and takes their answers until it is over."""

    told = False
    """Whether it knows how long its moves waited for the first of their batches."""

    def __init__(self, moves: int, timing: Timing | None) -> None:
        """Begin to wait for so many moves, whose time goes to a record."""
        self.moves, self.timing, self.begun = moves, timing, time.perf_counter()

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether nobody waits any more."""

    @abstractmethod
    def let_end(self) -> None:
        """Let the deadline cut nothing off any more: a move is about to be kept."""

    @abstractmethod
    def take(self, answer: "Answer") -> None:
        """Take the answer of one move; nothing is raised."""


class Waiting(Asking):
    """A request that waits in a task of its own; ``done`` when the last move has its answer."""

    def __init__(self, moves: int, block: Block) -> None:
        """Begin to wait within a block that ends at the deadline."""
        super().__init__(moves, current_timing())
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._block, self._left = block, moves

    @property
    def over(self) -> bool:
        """Whether all is answered, or the task was cancelled."""
        return self.done.done()

    def let_end(self) -> None:
        """Let the block not be cut off any more."""
        self._block.let_end()

    def take(self, _: "Answer") -> None:
        """Go on with the last answer."""
        self._left -= 1
        if not self._left:
            self.done.set_result(None)


# None if the move is not plain, an exception if something else went wrong.
Answer = schemas.MovesAnswer | BaseException | None


@dataclass(slots=True, eq=False)
class SingleMove:
    """One move to be played in a session."""

    session: str
    move: str
    ply: int | None
    top_k: int
    asked: Asking
    answer: Answer = None
    answered: bool = False

    @property
    def over(self) -> bool:
        """Whether it was answered, or nobody waits for it any more."""
        return self.answered or self.asked.over

    def settle(self, answer: Answer) -> None:
        """Answer it, if it is not over."""
        if self.over:
            return
        self.answer, self.answered = answer, True
        self.asked.take(answer)


def tell_how_long_they_waited(asked: Collection[Asking]) -> None:
    """Let each request know how long its moves waited for their batch, and what is done from here on for all."""
    now = time.perf_counter()
    for one in asked:
        # What it waits for after its first batch is the network.
        if one.timing is not None and not one.told:
            one.told = True
            one.timing.add(BATCH, one.begun, now, one.moves)
    share_timing(one.timing for one in asked)
