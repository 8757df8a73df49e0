"""Reads packed games and a model's scores of every ply and gives figures, plots, and profiles of players."""

from model.evaluation.figures import bootstrap, summarise
from model.evaluation.scores import Scores, score

__all__ = ["Scores", "bootstrap", "score", "summarise"]
