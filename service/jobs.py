"""Reads what is asked of the scheduler and gives the jobs it works on: steps to take, and what came of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy.typing as npt

from service.errors import EngineFailed
from service.timing import NETWORK, Timing

Input = TypeVar("Input")
Rows = npt.NDArray[Any]

# Makes answers of what their steps are about, one a row, and of the rows that the engine gave for them.
Read = Callable[[Sequence[Any], Rows], Sequence[Any]]


class Step(NamedTuple, Generic[Input]):
    """One step of a job; ``read`` makes an answer of its output and of what it is ``about``, None wants none.

    Steps of one tick with the same ``read`` are read together, and no answer may depend on the others. The state after
    a step is given if it ``shows`` it.
    """

    input: Input
    read: Read | None = None
    about: Any = None
    shows: bool = False


class Outcome(NamedTuple):
    """What a job gave: the answers of the steps that were read and the states of those that show them, in order."""

    answers: list[Any]
    state: bytes
    """After the last step."""
    states: tuple[bytes, ...] = ()


@dataclass(slots=True, eq=False)
class Asked:
    """Jobs that were asked for together, and are answered when the last of them is through."""

    left: int
    done: asyncio.Future[None]
    timing: Timing | None
    computed: float = 0.0
    """Seconds of the ticks in which it took part."""
    ticked: float = 0.0
    """When the last of these ended."""

    def tick(self, begun: float, ended: float, rows: int) -> None:
        """Take the time of a tick, once for all jobs that were in it."""
        if self.ticked != ended:
            self.ticked = ended
            self.computed += ended - begun
            if self.timing is not None:
                self.timing.add(NETWORK, begun, ended, rows)


@dataclass(slots=True, eq=False)
class Job(Generic[Input]):
    """Steps that follow each other, from a state on, and how far they are."""

    state: bytes
    steps: Sequence[Step[Input]]
    asked: Asked
    answers: list[Any] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    taken: int = 0
    failure: Exception | None = None

    @property
    def step(self) -> Step[Input]:
        """The step to take next."""
        return self.steps[self.taken]

    @property
    def left(self) -> int:
        """How many steps were not taken yet."""
        return len(self.steps) - self.taken

    @property
    def outcome(self) -> Outcome | EngineFailed:
        """What it gave, or that a step of it failed."""
        if self.failure is not None:
            return _failure(self.failure)
        return Outcome(self.answers, self.state, tuple(self.states))


def _failure(error: Exception) -> EngineFailed:
    failure = EngineFailed("the engine failed on this batch; nothing was applied, the request can be sent again")
    failure.__cause__ = error
    return failure
