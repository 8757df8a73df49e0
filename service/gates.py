"""Reads the line of a game and gives what the gates of the network did at each of its steps."""

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.artifact import Artifact
from service.engine import Engine, Input, Rows
from service.errors import EngineFailed
from service.line import Line
from service.scheduler import Scheduler

# float64 [gates, 3]: the mean of the units' sizes, the share of them that is open, the share that is closed.
Activity = npt.NDArray[np.float64]

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
        self._showing: Scheduler[Input] | None = None
        self._opening = asyncio.Lock()

    async def along(self, line: Line) -> list[Activity]:
        """Give the activity of the gates at each step of a line from the start; EngineFailed if they cannot be read."""
        return await line.read_each(await self._open(), self._activity)

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
