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
# As many as most ask for are found in all rows of a tick at once, from so many rows on: it takes a third of the time.
_LIKELY, _WORTH_IT = 5, 8


@dataclass(frozen=True, slots=True)
class Distribution:
    """ln p of each candidate: ``moves`` are their ids, None if every id of the vocabulary is one."""

    moves: Candidates
    log_p: Float32
    likely: Sequence[tuple[int, float]] = ()
    """Ids and ln p of the likeliest, likeliest first, as far as they were found."""

    @classmethod
    def of(cls, candidates: Sequence[Candidates], logits: Float32) -> "list[Distribution]":
        """Normalise each row of float32 ``logits [rows, moves]`` over its own candidates.

        A row's bits do not depend on the other rows. They are the float32 that a session keeps, so that an answer is
        the same from either. Whoever keeps a row keeps no other in memory.
        """
        if len(candidates) == 1 and candidates[0]:
            return [cls(candidates[0], _normalised_row(logits[0].take(candidates[0])))]
        every = [row for row, moves in enumerate(candidates) if moves is None]
        some = [row for row, moves in enumerate(candidates) if moves]
        if len(every) == len(candidates):
            return cls._of_every(logits)
        found = {row: cls(moves, np.empty(0, np.float32)) for row, moves in enumerate(candidates)}
        if every:
            found |= zip(every, cls._of_every(logits[every]), strict=True)
        if some:
            normalised = _normalised_over([candidates[row] or () for row in some], some, logits)
            found |= {row: cls(candidates[row], log_p) for row, log_p in zip(some, normalised, strict=True)}
        return [found[row] for row in range(len(candidates))]

    @classmethod
    def _of_every(cls, logits: Float32) -> "list[Distribution]":
        """Normalise each row over all moves; in float32, since a vocabulary may have thousands."""
        scores: Float32 = logits - logits.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        rows = [row.copy() for row in scores]
        if len(rows) < _WORTH_IT:
            return [cls(None, row) for row in rows]
        return [cls(None, row, likely) for row, likely in zip(rows, _likeliest(scores), strict=True)]

    def top(self, count: int) -> list[tuple[int, float]]:
        """Give id and probability of the likeliest moves, likeliest first; equals come in the candidates' order."""
        count = min(count, len(self.log_p))
        if self.moves is None and count <= len(self.likely):
            return [(move, math.exp(log_p)) for move, log_p in self.likely[:count]]
        # A look through all for each of a few is faster than to part the likely from the others and to sort those. What
        # was taken is less than what cannot come, so that this is given too, and once.
        left, top = np.maximum(self.log_p, _LEAST), []
        for _ in range(count):
            index = int(left.argmax())
            top.append((index if self.moves is None else self.moves[index], math.exp(left[index])))
            left[index] = -math.inf
        return top

    def surprisal(self, move: int) -> float:
        """Give −ln p of a candidate, in nats."""
        index = move if self.moves is None else self.moves.index(move)
        return 0.0 - float(self.log_p[index])  # of a certain move 0.0, not −0.0


def _likeliest(left: Float32) -> list[list[tuple[int, float]]]:
    """Give what ``top`` looks for, of each row, which it takes out of ``left``."""
    np.maximum(left, _LEAST, out=left)
    flat, starts, found = left.reshape(-1), np.arange(0, left.size, left.shape[1]), []
    for _ in range(min(_LIKELY, left.shape[1])):
        moves = left.argmax(axis=1)
        places = starts + moves
        found.append(zip(moves.tolist(), flat[places].tolist(), strict=True))
        flat[places] = -math.inf
    return [list(of_row) for of_row in zip(*found, strict=True)]


def _normalised_over(candidates: Sequence[Sequence[int]], rows: Sequence[int], logits: Float32) -> list[Float32]:
    """Give ln p of the candidates of each row, at least one, all rows in one pass."""
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
    scores -= np.maximum.reduce(scores)
    scores -= np.log(np.add.reduceat(np.exp(scores), (0,)))
    return scores.astype(np.float32)
