"""Reads the states after the steps of a game and gives the units of its memory that remember longest."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.artifact import StateTensor, state_record
from service import schemas

_Values = npt.NDArray[np.float64]

_DIGITS = 3
# What carries the long memory: the c of our cells, h where there is none, and all that a graph of another make keeps.
_CARRIERS = (r"c\d+", r"h\d+", r".*")


def longest(tensors: Sequence[StateTensor], states: Sequence[bytes], count: int) -> list[schemas.Memory]:
    """Give the ``count`` units of each tensor of memory that remember longest, and what they held.

    tensors: the manifest's;  states: one a step, from the start on; none gives nothing
    A tensor of uint8 is left out, since only its graph knows which numbers it stands for.
    """
    if not states:
        return []
    rows = np.frombuffer(b"".join(states), state_record(tensors))
    values = {name: rows[name].reshape(len(rows), -1) for name in _carriers(tensors)}
    return [_longest(name, held.astype(np.float64).round(_DIGITS), count) for name, held in values.items()]


def persistence(values: _Values) -> _Values:
    """Give how long each unit remembers, from −1 to 1: the autocorrelation of ``values [plies, units]`` at lag 1.

    r = Σ (xₜ − x̄)(xₜ₊₁ − x̄) / Σ (xₜ − x̄)². A unit that takes something in and holds it is near 1, one that is written
    anew at every ply near 0, and one that stood out at a single ply too, though it changed little on the whole: so it
    is not the mean change that counts. A unit that never moved, which may know nothing, is given −1.
    """
    away = values - values.mean(0)
    spread = np.square(away).sum(0)
    result: _Values = np.full(len(spread), -1.0)
    np.divide((away[1:] * away[:-1]).sum(0), spread, out=result, where=np.ptp(values, axis=0) > 0)
    return result


def _carriers(tensors: Sequence[StateTensor]) -> list[str]:
    for kind in _CARRIERS:
        if found := [tensor for tensor in tensors if re.fullmatch(kind, tensor.name)]:
            return [tensor.name for tensor in found if tensor.dtype == "float32"]
    return []


def _longest(name: str, values: _Values, count: int) -> schemas.Memory:
    """Choose units; of those alike, as all are at the first two plies, the largest."""
    finite = np.flatnonzero(np.isfinite(values).all(0))
    whole = values[:, finite]
    order = np.lexsort((-np.abs(whole).mean(0), -persistence(whole).round(6)))[:count]
    return {
        "tensor": name,
        "width": values.shape[1],
        "units": finite[order].tolist(),
        "values": whole[:, order].tolist(),
    }
