"""Reads rows of scores and gives the probabilities of the moves that may come, and what can be said of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Candidates = Sequence[int] | None

_LEAST = np.finfo(np.float32).min


@dataclass(frozen=True, slots=True)
class Distribution:
    """ln p of each candidate: ``moves`` are their ids, None if every id of the vocabulary is one."""

    moves: Candidates
    log_p: Float32

    @classmethod
    def of(cls, candidates: Sequence[Candidates], logits: Float32) -> "list[Distribution]":
        """Normalise each row of float32 ``logits [rows, moves]`` over its own candidates.

        A row's bits do not depend on the other rows. They are the float32 that a session keeps, so that an answer is
        the same from either. Whoever keeps a row keeps no other in memory.
        """
        every = [row for row, moves in enumerate(candidates) if moves is None]
        some = [row for row, moves in enumerate(candidates) if moves]
        found = {row: np.empty(0, np.float32) for row in range(len(candidates))}
        found |= zip(every, _normalised(logits if len(every) == len(logits) else logits[every]), strict=True)
        found |= zip(some, _normalised_over([candidates[row] or () for row in some], some, logits), strict=True)
        return [cls(moves, found[row]) for row, moves in enumerate(candidates)]

    def top(self, count: int) -> list[tuple[int, float]]:
        """Give id and probability of the likeliest moves, likeliest first; equals come in the candidates' order."""
        # A look through all for each of a few is faster than to part the likely from the others and to sort those. What
        # was taken is less than what cannot come, so that this is given too, and once.
        left, top = np.maximum(self.log_p, _LEAST), []
        for _ in range(min(count, len(left))):
            index = int(left.argmax())
            top.append((index if self.moves is None else self.moves[index], math.exp(left[index])))
            left[index] = -math.inf
        return top

    def surprisal(self, move: int) -> float:
        """Give −ln p of a candidate, in nats."""
        index = move if self.moves is None else self.moves.index(move)
        return 0.0 - float(self.log_p[index])  # of a certain move 0.0, not −0.0


def _normalised(logits: Float32) -> list[Float32]:
    """Give ln p of every move, row by row; in float32, since a vocabulary may have thousands."""
    scores: Float32 = logits - logits.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return [row.copy() for row in scores]


def _normalised_over(candidates: Sequence[Sequence[int]], rows: Sequence[int], logits: Float32) -> list[Float32]:
    """Give ln p of the candidates of each row, at least one, all rows in one pass."""
    if len(rows) == 1:
        return [_normalised_row(logits[rows[0]].take(candidates[0]))]
    if not rows:
        return []
    sizes = np.fromiter(map(len, candidates), np.int64, len(rows))
    moves = np.fromiter(chain.from_iterable(candidates), np.int64, int(sizes.sum()))
    starts = np.cumsum(sizes) - sizes
    scores = logits[np.repeat(rows, sizes), moves].astype(np.float64)
    scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
    scores -= np.repeat(np.log(np.add.reduceat(np.exp(scores), starts)), sizes)
    return [row.copy() for row in np.split(scores.astype(np.float32), starts[1:])]


def _normalised_row(logits: Float32) -> Float32:
    """Do the same with the candidates of one row, bit for bit, in a third of the time."""
    scores = logits.astype(np.float64)
    scores -= scores.max()
    scores -= np.log(np.add.reduceat(np.exp(scores), (0,)))
    return scores.astype(np.float32)
