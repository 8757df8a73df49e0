"""Reads packed games and tells which positions they held, in 8 bytes a ply."""

import numpy as np
import numpy.typing as npt

from model.dataset import Packed

Hashes = npt.NDArray[np.uint64]

_CHUNK = 1 << 18
# Constants of SplitMix64's last step (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014).
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(words: Hashes) -> Hashes:
    """Spread every bit over all others; no two words become the same."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def hash_boards(cells: npt.NDArray[np.uint8]) -> Hashes:
    """Give one number for each board, ``uint8 [N, cells]`` to ``[N]``.

    Of two boards that differ, about one pair in 2⁶⁴ has the same number.
    """
    padded = np.pad(cells, ((0, 0), (0, -cells.shape[1] % 8)))
    hashes = np.zeros(len(cells), np.uint64)
    for column in np.ascontiguousarray(padded).view(np.uint64).T:
        hashes = _mix(hashes ^ column)
    return hashes


class Positions:
    """The positions of some games, each the board as the player to move sees it, with the last move if it shows it."""

    def __init__(self, packed: Packed) -> None:
        """Read every ply, a part of them at a time, so that boards on disk stay there."""
        self._sorted = np.empty(len(packed.cells), np.uint64)
        for first in range(0, len(self._sorted), _CHUNK):
            self._sorted[first : first + _CHUNK] = hash_boards(packed.cells[first : first + _CHUNK])
        self._sorted.sort()

    def hold(self, cells: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Say of each board, ``uint8 [N, cells]``, whether it is among them, ``bool [N]``."""
        hashes = hash_boards(cells)
        place = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        held: npt.NDArray[np.bool_] = self._sorted[place] == hashes
        return held
