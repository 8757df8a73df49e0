"""Reads one row of scores and gives the probabilities of the moves that may come, and what can be said of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Distribution:
    """ln p of each candidate: ``moves`` are their ids, None if every id of the vocabulary is one."""

    moves: Sequence[int] | None
    log_p: Float32

    @classmethod
    def of(cls, moves: Sequence[int] | None, logits: Float32) -> "Distribution":
        """Normalise float32 ``logits [moves]`` over the candidates.

        The result is rounded to the float32 that a session keeps, so that an answer is the same from either.
        """
        scores = (logits if moves is None else logits[list(moves)]).astype(np.float64)
        if scores.size:
            scores -= scores.max()
            scores -= np.log(np.exp(scores).sum())
        return cls(moves, scores.astype(np.float32))

    def top(self, count: int) -> list[tuple[int, float]]:
        """Give id and probability of the likeliest moves, likeliest first; equals come in the candidates' order."""
        order = np.argsort(-self.log_p, kind="stable")[:count]
        probabilities = np.exp(self.log_p[order].astype(np.float64))
        moves = order if self.moves is None else [self.moves[index] for index in order]
        return [(int(move), float(p)) for move, p in zip(moves, probabilities, strict=True)]

    def surprisal(self, move: int) -> float:
        """Give −ln p of a candidate, in nats."""
        index = move if self.moves is None else self.moves.index(move)
        return 0.0 - float(self.log_p[index])  # of a certain move 0.0, not −0.0
