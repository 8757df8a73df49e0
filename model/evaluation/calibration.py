"""Reads the scores of every ply and says how often moves are played that are given a certain probability."""

from typing import Any

import numpy as np
import numpy.typing as npt

from model.evaluation.figures import rounded
from model.evaluation.scores import BINS, EDGES, Floats, Scores, bin_of


def _reliability(moves: Floats, predicted: Floats, played: Floats) -> dict[str, Any]:
    """Give one bin after the other and their expected calibration error, from sums, each float64 [BINS].

    moves: how many moves were given a probability of this bin;  predicted: their probability, added up
    played: how many of them were played

    The error is Σ |played − predicted| / Σ moves: ECE as in Guo et al., On calibration of modern neural networks, ICML
    2017, equation 3, with bins of our own.
    """
    bins = [
        {
            "from": float(EDGES[index]),
            "to": float(EDGES[index + 1]),
            "moves": int(moves[index]),
            "predicted": rounded(predicted[index] / moves[index]),
            "played": rounded(played[index] / moves[index]),
        }
        for index in np.flatnonzero(moves).tolist()
    ]
    return {"ece": rounded(np.abs(played - predicted).sum() / moves.sum()), "bins": bins}


def _count(bins: npt.NDArray[np.int64], weights: npt.NDArray[Any] | None = None) -> Floats:
    return np.bincount(bins, weights, BINS).astype(np.float64)


def calibration(scores: Scores) -> dict[str, Any]:
    """Give the reliability of the first move and of all legal moves, ready for JSON.

    ``predicted`` is the mean probability of the moves of a bin, ``played`` the share of them that was played.
    """
    first, own = bin_of(scores.first_p), bin_of(np.exp(-scores.legal_nll))
    moves, mass = scores.bin_moves.sum(0, dtype=np.float64), scores.bin_mass.sum(0, dtype=np.float64)
    return {
        "top_move": _reliability(_count(first), _count(first, scores.first_p), _count(first, scores.legal_rank == 0)),
        "legal_moves": _reliability(moves, mass, _count(own)),
    }


def format_calibration(found: dict[str, Any]) -> str:
    """Say what ``calibration`` gave in a sentence."""
    top, legal = found["top_move"], found["legal_moves"]
    predicted, played = (sum(b["moves"] * b[key] for b in top["bins"]) for key in ("predicted", "played"))
    plies = sum(b["moves"] for b in top["bins"])
    return (
        f"Calibration: the first move is given {100 * predicted / plies:.2f} % on average and played "
        f"{100 * played / plies:.2f} % of the time; expected calibration error {100 * top['ece']:.2f} points for the "
        f"first move, {100 * legal['ece']:.3f} over all legal moves."
    )
