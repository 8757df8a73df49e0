"""Reads the line of a game and gives what the gates of the network did at each of its steps, and what it kept."""

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.artifact import Artifact
from service.engine import Engine, Input, Rows
from service.errors import EngineFailed
from service.jobs import Outcome
from service.line import Line
from service.scheduler import Scheduler

# float64 [gates, 3]: the mean of the units' sizes, the share of them that is open, the share that is closed.
Activity = npt.NDArray[np.float64]

# The states of a game are given as long as they take no more bytes than these: 35,000 plies of the chess that ships.
_MOST_STATES = 1 << 26

# Where a gate counts as open or closed (Karpathy, Johnson and Li 2015, arXiv 1506.02078).
_OPEN, _CLOSED = 0.9, 0.1


class Gates:
    """The gates of one model. Its graph is opened once more to show them, when somebody first asks.

    The engine that predicts knows nothing of it: outputs that nobody reads would be written at every step all the same.
    """

    def __init__(self, artifact: Artifact, scheduler: Scheduler[Input]) -> None:
        """Take the artifact, whose manifest has gates, and the scheduler of its predictions."""
        self._artifact, self._predicting = artifact, scheduler
        self._widths = np.array([gate.width for gate in artifact.manifest.gates])
        self._starts = np.cumsum(self._widths) - self._widths
        self._most_steps = _MOST_STATES // artifact.record.itemsize
        self._showing: Scheduler[Input] | None = None
        self._opening = asyncio.Lock()

    async def along(self, line: Line, *, shows: bool = False) -> Outcome:
        """Read each step of a line from the start: an `Activity` as its answer; EngineFailed if it cannot be read.

        With ``shows`` the states after the steps come with them, unless they are too many for the memory of a service.
        """
        shows = shows and len(line.steps) <= self._most_steps
        return await line.read_each(await self._open(), self._activity, shows=shows)

    async def _open(self) -> Scheduler[Input]:
        async with self._opening:
            if self._showing is None:
                try:
                    engine = await asyncio.to_thread(Engine, self._artifact, gates=True)
                except Exception as error:
                    raise EngineFailed("the gates of this model cannot be read; the log says why") from error
                self._showing = self._predicting.beside(engine)
            return self._showing

    def _activity(self, _: Sequence[None], units: Rows) -> list[Activity]:
        """Measure each row of an engine that shows gates."""
        sizes = np.abs(units)
        measures = np.stack([sizes, sizes > _OPEN, sizes < _CLOSED], axis=1)
        activity: Activity = np.add.reduceat(measures, self._starts, axis=2, dtype=np.float64) / self._widths
        return list(activity.transpose(0, 2, 1))
