"""Remembers what the network gave along the beginnings of games, so that games that begin alike share those steps.

A step gives the same bits whoever asks for it, so nobody can tell a shared one from one of their own.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from service.distribution import Distribution
from service.metrics import opening_steps

# Plies of a game that may be shared: later on hardly two games are alike.
DEPTH = 16
# What an entry takes beside its arrays, more or less.
_OVERHEAD = 500

_shared, _taken = opening_steps.labels("shared"), opening_steps.labels("taken")

_Key = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Reached:
    """What the network gave at one ply: what is predicted there, and the state."""

    prediction: Distribution
    state: bytes

    @property
    def size(self) -> int:
        """The bytes of memory that it takes, more or less."""
        return self.prediction.log_p.nbytes + len(self.state) + _OVERHEAD


class Prefixes:
    """The beginnings most recently asked for with one model, in at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self._limit, self._size = limit, 0
        self._reached: OrderedDict[_Key, Reached] = OrderedDict()

    def along(self, context: Sequence[int], moves: Sequence[int]) -> list[Reached]:
        """Give what is known at ply 0, 1, … of a game, as far as it goes."""
        found: list[tuple[_Key, Reached]] = []
        for ply in range(min(len(moves) + 1, DEPTH)):
            key = _key(context, moves, ply)
            reached = self._reached.get(key)
            if reached is None:
                break
            found.append((key, reached))
        # The start last: what leads to a ply must not be forgotten before it.
        for key, _ in reversed(found):
            self._reached.move_to_end(key)
        _shared.inc(len(found))
        return [reached for _, reached in found]

    def keep(self, context: Sequence[int], moves: Sequence[int], first: int, reached: Sequence[Reached]) -> None:
        """Remember what was given at plies ``first``, ``first`` + 1, … of a game."""
        _taken.inc(len(reached))
        for ply, one in reversed(list(enumerate(reached, first))):
            key = _key(context, moves, ply)
            if key not in self._reached:
                self._reached[key] = one
                self._size += one.size
            self._reached.move_to_end(key)
        while self._size > self._limit:
            _, oldest = self._reached.popitem(last=False)
            self._size -= oldest.size


def _key(context: Sequence[int], moves: Sequence[int], ply: int) -> _Key:
    return tuple(context), tuple(moves[:ply])
