"""Reads packed games and gives the baseline to beat: how often each move followed the last few moves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.games import Game
from model.runner import Step, side_by_side

Floats = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]

_ROWS = 64
# Any odd number with well-mixed bits does; this one is 2^64 divided by the golden ratio.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def _histories(
    packed: Packed, plies: npt.NDArray[np.int64], ply: npt.NDArray[np.int64], most: int, start: int
) -> Tokens:
    """Give the moves before each of N plies, int32 [N, most], the latest first, ``start`` before the first move.

    plies: int64 [N], places in ``packed.tokens``
    ply: int64 [N], how many moves of the game came before
    """
    histories = np.full((len(plies), most), start, np.int32)
    for back in range(most):
        known = ply > back
        histories[known, back] = packed.tokens[plies[known] - 1 - back]
    return histories


def _hashes(histories: Tokens) -> Iterator[Hashes]:
    """Give, for 0, 1, … of the latest moves, one number per row that stands for them."""
    hashes = np.zeros(len(histories), np.uint64)
    yield hashes
    for column in histories.T:
        hashes = hashes * _MULTIPLIER + column.astype(np.uint64) + np.uint64(1)
        yield hashes


@dataclass(frozen=True)
class _Order:
    """What followed the contexts of one length: pairs of context and move, sorted, with their counts.

    contexts: uint64 [C], sorted
    starts: int64 [C + 1], where a context's pairs begin
    tokens: int32 [pairs]
    counts: int32 [pairs]
    discount: what is taken from each count, between 0 and 1
    """

    contexts: Hashes
    starts: npt.NDArray[np.int64]
    tokens: Tokens
    counts: npt.NDArray[np.int32]
    discount: float

    @classmethod
    def count(cls, contexts: Hashes, tokens: Tokens) -> "_Order":
        order = np.lexsort((tokens, contexts))
        contexts, tokens = contexts[order], tokens[order]
        new = np.flatnonzero(np.r_[True, (contexts[1:] != contexts[:-1]) | (tokens[1:] != tokens[:-1])])
        counts = np.diff(np.r_[new, len(tokens)])
        contexts, tokens = contexts[new], tokens[new]
        first = np.flatnonzero(np.r_[True, contexts[1:] != contexts[:-1]])
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        # One is added to each number, so that small counts do not give 0 (no room for the unseen) or 1.
        discount = (once + 1) / (once + 2 * twice + 2)
        return cls(contexts[first], np.r_[first, len(contexts)], tokens, counts.astype(np.int32), discount)

    def refine(self, p: Floats, contexts: Hashes) -> None:
        """Turn ``p`` after contexts one move shorter, float64 [B, moves], into that after ``contexts [B]``."""
        place = np.minimum(np.searchsorted(self.contexts, contexts), len(self.contexts) - 1)
        rows = np.flatnonzero(self.contexts[place] == contexts)
        first = self.starts[place[rows]]
        kinds = self.starts[place[rows] + 1] - first
        pairs = np.repeat(first - np.cumsum(kinds) + kinds, kinds) + np.arange(kinds.sum())
        row = np.repeat(np.arange(len(rows)), kinds)
        total = np.bincount(row, self.counts[pairs], len(rows))
        p[rows] *= (self.discount * kinds / total)[:, None]
        p[rows[row], self.tokens[pairs]] += (self.counts[pairs] - self.discount) / total[row]


class NGram:
    """Counts of the move that followed the last 0, 1, … moves, each length smoothed with the one below it.

    The game's start counts as a move, so that in the first plies the whole game so far is the context: a book.
    """

    def __init__(self, game: Game, packed: Packed, games: Sequence[int] | npt.NDArray[np.int64], most: int = 5) -> None:
        """Count the moves of ``games`` after contexts of up to ``most`` moves."""
        self._moves, self._start, self._most = len(game.vocabulary), game.vocabulary.start, most
        plies, ply = _places(packed, np.asarray(games))
        histories = _histories(packed, plies, ply, most, self._start)
        tokens = packed.tokens[plies]
        self._orders = [_Order.count(contexts, tokens) for contexts in _hashes(histories)]

    def probabilities(self, histories: Tokens) -> Floats:
        """Give p of the next move, float64 [B, moves], after ``histories [B, most]``, the latest move first.

        Absolute discounting with interpolation (Ney, Essen and Kneser, On structuring probabilistic dependences in
        stochastic language modelling, Computer Speech and Language 8, 1994): with N moves counted after a context, T of
        them different, p = (max(count − D, 0) + D × T × p after the context one move shorter) / N, where
        D = n1 / (n1 + 2 n2), from how many counts are 1 and 2. A context never seen leaves p as it is; below the
        shortest context all moves are equally likely.
        """
        p = np.full((len(histories), self._moves), 1 / self._moves)
        for order, contexts in zip(self._orders, _hashes(histories), strict=True):
            order.refine(p, contexts)
        return p

    def walk(self, packed: Packed, games: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[Step]:
        """Step through whole games, as a step graph's runner does; the scores are ln p."""
        for part in side_by_side(packed, games, _ROWS):
            lengths = packed.lengths[part]
            for ply in range(int(lengths[0])):
                live = part[lengths > ply]
                plies = packed.offsets[live] + ply
                histories = _histories(packed, plies, np.full(len(live), ply), self._most, self._start)
                yield Step(live, ply, np.log(self.probabilities(histories)).astype(np.float32), [])


def _places(packed: Packed, games: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give, for every ply of ``games``, its place in ``packed.tokens`` and its number in its game."""
    lengths = packed.lengths[games]
    ply = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(packed.offsets[games], lengths) + ply, ply
