"""Reads packed games and gives batches of games of similar length, side by side, as the network reads them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.games import Game


@dataclass(frozen=True)
class Batch:
    """B games side by side, N plies in all; ``mask`` lays the plies out, one game a row, in order from the left.

    tokens: int64 [N]          what the network reads: the start, then the move before
    targets: int64 [N]         the move played
    seen: int64 [N, fields]    context and side, as the player to move sees them
    cells: uint8 [N, cells]    the board, as the player to move sees it
    mask: bool [B, T]          N of them True
    """

    tokens: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


def collate(
    game: Game, packed: Packed, games: npt.NDArray[np.int64], plies: int, context: npt.NDArray[np.uint8]
) -> Batch:
    """Put ``games`` side by side, each cut after ``plies``; ``context`` holds their ids, in the same order."""
    starts = packed.offsets[games]
    lengths = np.minimum(packed.lengths[games], plies)
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    row, ply = np.nonzero(mask)
    index = starts[row] + ply
    targets = packed.tokens[index].astype(np.int64)
    tokens = np.where(ply == 0, game.vocabulary.start, np.roll(targets, 1))
    sides = np.array([[game.seen(ids, player) for player in (0, 1)] for ids in context.tolist()], np.int64)
    return Batch(tokens, targets, sides[row, packed.players[index]], packed.cells[index], mask)


def bucket(
    lengths: npt.NDArray[np.int64], tokens: int, plies: int, seed: int, pool: int = 64
) -> list[npt.NDArray[np.int64]]:
    """Group games of similar length into batches of about ``tokens`` plies, in an order drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    cut = np.minimum(lengths, plies)
    pool_games = max(1, round(pool * tokens / float(cut.mean())))
    batches: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(order), pool_games):
        games = order[first : first + pool_games]
        games = games[np.argsort(cut[games], kind="stable")]
        edges = np.flatnonzero(np.diff(np.cumsum(cut[games]) // tokens)) + 1
        batches += np.split(games, edges)
    return [batches[index] for index in rng.permutation(len(batches))]
