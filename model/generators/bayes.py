"""Reads games of rock, paper, scissors and gives the best prediction there is, from the habits they were drawn by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.generators.habits import Population, Throws
from model.generators.rock_paper_scissors import PAIRS, read_throws
from model.runner import Step, side_by_side

# Games that are predicted side by side.
_ROWS = 100


def predict(population: Population, own: Throws, other: Throws) -> npt.NDArray[np.float64]:
    """Give the chance of each throw of one player as the rounds before tell it, ``[games, rounds, 3]``.

    The forward algorithm over the player's noise n and habit h, which nobody sees (Rabiner, A tutorial on hidden Markov
    models and selected applications in speech recognition, Proceedings of the IEEE 77, 1989). Before the first round
    b(n, h) is the same for all; then, round by round,

    p(x) = Σ b(n, h) p(x | n, h, before);  s(n, h) = b(n, h) p(thrown | n, h, before) / p(thrown);
    b(n, h) = (1 − drift) s(n, h) + drift Σ s(n, ·) / habits

    """
    games, rounds = own.shape
    kinds = len(population.noises), len(population.habits)
    belief, predicted = np.full((*kinds, games), 1 / (kinds[0] * kinds[1])), np.empty((games, rounds, 3))
    for ply in range(rounds):
        chances = population.chances(own[:, :ply], other[:, :ply])
        predicted[:, ply] = np.einsum("nhg,nhgx->gx", belief, chances)
        belief *= chances[:, :, np.arange(games), own[:, ply]]
        belief /= belief.sum((0, 1))
        belief = (1 - population.drift) * belief + population.drift * belief.mean(1, keepdims=True)
    return predicted


@dataclass(frozen=True)
class Bayes:
    """Predicts a round by the rules that the games were drawn by: no model has a lower expected −ln p.

    Two players who know of each other only what was thrown are independent given that, so the chance of a token is the
    product of the chances of its throws, and pairs of habits need not be counted.
    """

    population: Population = field(default_factory=Population)

    def walk(self, packed: Packed, games: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[Step]:
        """Step through whole games, as a step graph's runner does; the scores are ln p."""
        for part in side_by_side(packed, games, _ROWS):
            lengths = packed.lengths[part]
            first, second = read_throws(packed, part)
            chances = predict(self.population, first, second), predict(self.population, second, first)
            for ply in range(int(lengths[0])):
                live = int((lengths > ply).sum())
                p = chances[0][:live, ply, PAIRS[:, 0]] * chances[1][:live, ply, PAIRS[:, 1]]
                yield Step(part[:live], ply, np.log(p).astype(np.float32), [])
