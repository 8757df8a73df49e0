"""Reads packed games and gives the legal moves at every ply, by the rules of the game."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.games import Game


class LegalMoves:
    """Replays each game once, when it is first asked for, and forgets a ply once it was given."""

    def __init__(self, game: Game, packed: Packed) -> None:
        """Take the games; nothing is replayed yet."""
        self._game, self._packed = game, packed
        self._ruled = game.new_position().legal() is not None
        self._kept: dict[int, dict[int, npt.NDArray[np.int32]]] = {}

    def at(self, games: npt.NDArray[np.int64], ply: int) -> npt.NDArray[np.int32]:
        """Give the ids of the legal moves, int32 [B, most], rows filled up with the vocabulary's size.

        Without rules every move of the vocabulary is legal. ValueError if a move that was played is not legal.
        """
        moves = len(self._game.vocabulary)
        if not self._ruled:
            return np.broadcast_to(np.arange(moves, dtype=np.int32), (len(games), moves))
        lists = [self._take(number, ply) for number in games.tolist()]
        lengths = np.array([len(ids) for ids in lists])
        padded = np.full((len(lists), lengths.max()), moves, np.int32)
        padded[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(lists)
        return padded

    def _take(self, number: int, ply: int) -> npt.NDArray[np.int32]:
        if number not in self._kept:
            self._kept[number] = dict(enumerate(self._replay(number)))
        plies = self._kept[number]
        ids = plies.pop(ply)
        if not plies:
            del self._kept[number]
        return ids

    def _replay(self, number: int) -> Iterator[npt.NDArray[np.int32]]:
        position = self._game.new_position()
        first, end = self._packed.offsets[number : number + 2]
        for token in self._packed.tokens[first:end].tolist():
            legal = position.legal() or ()
            if token not in legal:
                raise ValueError(f"game {number}, ply {position.ply}: the move played is not legal by the game's rules")
            yield np.array(legal, np.int32)
            position.play(token)
