"""Reads packed games and gives batches of games of similar length, side by side, as the network reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.games import Game

# What stands in the cells of a board that never came about: no game has so many codes.
NOTHING = 255


@dataclass(frozen=True)
class Batch:
    """B games side by side, N plies in all; ``mask`` lays the plies out, one game a row, in order from the left.

    tokens: int64 [N]          what the network reads: the start, then the move before
    targets: int64 [N]         the move played
    seen: int64 [N, fields]    context and side, as the player to move sees them
    cells: uint8 [N, cells]    the board, as the player to move sees it
    mask: bool [B, T]          N of them True
    later: uint8 [N, cells]    the board two plies later, `NOTHING` in every cell where the game had ended
    expected: float32 [N, moves]  p of every move as a teacher sees it, if there is one
    """

    tokens: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    later: npt.NDArray[np.uint8]
    expected: npt.NDArray[np.float32] | None = None

    @property
    def inputs(self) -> tuple[npt.NDArray[Any], ...]:
        """What `NextMove.forward` reads, in its order: tokens, seen, cells as int64, mask."""
        return self.tokens, self.seen, self.cells.astype(np.int64), self.mask

    def windows(self, plies: int) -> Iterator["Batch"]:
        """Give the batch in windows of ``plies`` columns, from the left; a game that has ended has an empty row."""
        _, ply = np.nonzero(self.mask)
        for first in range(0, self.mask.shape[1], plies):
            end = first + plies
            inside = (ply >= first) & (ply < end)
            yield Batch(
                self.tokens[inside],
                self.targets[inside],
                self.seen[inside],
                self.cells[inside],
                self.mask[:, first:end],
                self.later[inside],
                None if self.expected is None else self.expected[inside],
            )


def collate(game: Game, packed: Packed, games: npt.NDArray[np.int64], context: npt.NDArray[np.uint8]) -> Batch:
    """Put whole ``games`` side by side; ``context`` holds their ids, in the same order."""
    starts, lengths = packed.offsets[games], packed.lengths[games]
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    row, ply = np.nonzero(mask)
    index = starts[row] + ply
    targets = packed.tokens[index].astype(np.int64)
    tokens = np.where(ply == 0, game.vocabulary.start, np.roll(targets, 1))
    sides = np.array([[game.seen(ids, player) for player in (0, 1)] for ids in context.tolist()], np.int64)
    later = np.full((len(index), packed.cells.shape[1]), NOTHING, np.uint8)
    lasts = ply + 2 < lengths[row]
    later[lasts] = packed.cells[index[lasts] + 2]
    return Batch(tokens, targets, sides[row, packed.players[index]], packed.cells[index], mask, later)


def bucket(lengths: npt.NDArray[np.int64], tokens: int, seed: int, pool: int = 64) -> list[npt.NDArray[np.int64]]:
    """Group games of similar length into batches of about ``tokens`` plies, in an order drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    pool_games = max(1, round(pool * tokens / float(lengths.mean())))
    batches: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(order), pool_games):
        games = order[first : first + pool_games]
        games = games[np.argsort(lengths[games], kind="stable")]
        edges = np.flatnonzero(np.diff(np.cumsum(lengths[games]) // tokens)) + 1
        batches += np.split(games, edges)
    return [batches[index] for index in rng.permutation(len(batches))]
