"""Reads what requests wait for, a move of one session or of many, and gives each its answer when it is there."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from service import schemas
from service.deadline import Block
from service.timing import BATCH, Timing, current_timing, share_timing


@dataclass(slots=True, eq=False)
class Asking:
    """Moves that a request asks for and waits for until the deadline; it is done when the last has its answer."""

    left: int
    waiting: Block
    done: "asyncio.Future[None]" = field(default_factory=asyncio.Future)
    timing: Timing | None = field(default_factory=current_timing)
    begun: float = field(default_factory=time.perf_counter)
    told: bool = False
    """Whether the request knows how long it waited for the first of its batches."""


@dataclass(slots=True, eq=False)
class SingleMove:
    """One move to be played in a session; its answer is None if it is not plain."""

    session: str
    move: str
    ply: int | None
    top_k: int
    asked: Asking
    answer: schemas.MovesAnswer | BaseException | None = None
    answered: bool = False

    @property
    def over(self) -> bool:
        """Whether it was answered, or nobody waits for it any more."""
        return self.answered or self.asked.done.done()

    def settle(self, answer: schemas.MovesAnswer | BaseException | None) -> None:
        """Answer it, if it is not over."""
        if self.over:
            return
        self.answer, self.answered = answer, True
        self.asked.left -= 1
        if not self.asked.left:
            self.asked.done.set_result(None)


def tell_how_long_they_waited(asked: Collection[Asking]) -> None:
    """Let each request know how long its moves waited for their batch, and what is done from here on for all."""
    now = time.perf_counter()
    for one in asked:
        # What it waits for after its first batch is the network.
        if one.timing is not None and not one.told:
            one.told = True
            one.timing.add(BATCH, one.begun, now, one.left)
    share_timing(one.timing for one in asked)
