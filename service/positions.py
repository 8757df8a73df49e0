"""Reads the moves of a game and gives its position, from the one kept since the last request or else by replaying."""

from collections import OrderedDict
from collections.abc import Sequence

from model.games import Game, Position


class Positions:
    """The positions of the games most recently played, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self._limit = limit
        self._kept: OrderedDict[tuple[Game, tuple[int, ...]], Position] = OrderedDict()

    def at(self, game: Game, moves: Sequence[int]) -> Position:
        """Give the position after ``moves``, free to be played on."""
        kept = self._kept.get((game, tuple(moves)))
        if kept is not None:
            return kept.copy()
        position = game.new_position()
        for move in moves:
            position.play(move)
        return position

    def advance(self, game: Game, before: Sequence[int], after: Sequence[int], position: Position) -> None:
        """Keep the position after ``after`` in place of the one after ``before``."""
        self._kept.pop((game, tuple(before)), None)
        self._kept[game, tuple(after)] = position
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
