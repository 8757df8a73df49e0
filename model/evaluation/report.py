"""Reads the scores of one model and gives its part of a report: what goes into JSON, and the Markdown for people."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from model.dataset import Packed
from model.evaluation.calibration import calibration, format_calibration
from model.evaluation.figures import Mask, curves, format_figures, summarise
from model.evaluation.positions import Positions
from model.evaluation.ratings import format_ratings
from model.evaluation.recorded import Recorded
from model.evaluation.scores import Scores

# Maia's figures leave out the first plies, and moves made with less than half a minute left (McIlroy-Young et al.,
# Aligning superhuman AI with human behavior, KDD 2020).
_FROM_PLY, _SECONDS = 10, 30


def more_groups(recorded: Recorded, training: Packed | None) -> dict[str, Mask]:
    """Give groups that the scores alone do not know, bool [N] each: by the clock, and by what training held.

    A game without clocks has no group of them; a game without a board has no positions to have been seen.
    """
    groups, rows = dict[str, Mask](), recorded.rows
    seconds = np.concatenate([recorded.seconds[game] for game in recorded.games])
    if not np.isnan(seconds).all():
        ply = np.concatenate([np.arange(recorded.packed.lengths[game]) for game in recorded.games])
        groups[f"plies {_FROM_PLY} and later, {_SECONDS} s left"] = (ply >= _FROM_PLY) & (seconds >= _SECONDS)
    if training is not None and training.cells.shape[1]:
        seen = Positions(training).hold(recorded.packed.cells[rows])
        groups |= {"positions seen in training": seen, "positions not seen": ~seen}
    return groups


def describe(scores: Scores, more: Mapping[str, Mask]) -> dict[str, Any]:
    """Give everything that scores say of a model, ready for JSON."""
    return {"figures": summarise(scores, more), **curves(scores), "calibration": calibration(scores)}


def format_report(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the report of each model, by its name, as Markdown."""
    parts = []
    for name, result in results.items():
        parts += [f"### {name}", format_figures(result["figures"]), format_calibration(result["calibration"])]
        if "ratings" in result:
            parts.append(format_ratings(result["ratings"]))
    return "\n\n".join(parts)
