"""Reads a finished model and packed games and gives what the model expected at every ply, for another to learn from."""

import numpy as np
import numpy.typing as npt

from model.artifact import Artifact
from model.dataset import Packed
from model.games import Game
from model.runner import StepRunner


class Teacher:
    """A model whose expectations are targets beside the moves played.

    A move played says that one move was possible; what a trained model expects says of every move how likely it was
    (Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network").
    """

    def __init__(self, artifact: Artifact, game: Game) -> None:
        """Load the model's graph; ValueError if it is of another game, or numbers its moves in another way."""
        if artifact.game.vocabulary.names != game.vocabulary.names:
            raise ValueError(f"{artifact.folder} cannot teach: its moves are not those of the game that is learnt")
        self._game, self._steps = game, StepRunner(artifact.graph, artifact.manifest.state)

    def expect(self, packed: Packed, games: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Give p of every move at every ply of ``games``, one game after the other, float32 [plies, moves]."""
        lengths = packed.lengths[games]
        starts = np.zeros(len(packed), np.int64)
        starts[games] = np.cumsum(lengths) - lengths
        logits = np.empty((lengths.sum(), len(self._game.vocabulary)), np.float32)
        for step in self._steps.walk(self._game, packed, games):
            logits[starts[step.games] + step.ply] = step.logits
        weights = np.exp(logits - logits.max(1, keepdims=True))
        expected: npt.NDArray[np.float32] = weights / weights.sum(1, keepdims=True)
        return expected
