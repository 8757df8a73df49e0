"""Reads the scores of every ply and gives figures: top-1, top-5 and NLL, in all and by group, with intervals."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from model.evaluation.scores import Floats, Scores

Mask = npt.NDArray[np.bool_]

PLY_BANDS = {"0-9": (0, 10), "10-29": (10, 30), "30-59": (30, 60), "60+": (60, 1 << 31)}
RATING_BANDS = ("unknown", "under 1200", "1200-1599", "1600-1999", "2000 and over")
_RATING_EDGES = (0, 1200, 1600, 2000)
# How fine the curves are: plies and points of rating of one group; further plies are few and noisy.
_PLIES, _LAST_PLY, _POINTS = 5, 120, 200

_DIGITS = 5

# Each figure's name, its heading in a table, and its value at every ply.
_MEASURES: tuple[tuple[str, str, Callable[[Scores], npt.NDArray[Any]]], ...] = (
    ("top1_legal", "top-1 legal", lambda scores: scores.legal_rank < 1),
    ("top5_legal", "top-5 legal", lambda scores: scores.legal_rank < 5),
    ("nll_legal", "NLL legal", lambda scores: scores.legal_nll),
    ("top1_raw", "top-1 raw", lambda scores: scores.raw_rank < 1),
    ("top5_raw", "top-5 raw", lambda scores: scores.raw_rank < 5),
    ("nll_raw", "NLL raw", lambda scores: scores.raw_nll),
    ("legal_rate", "raw top-1 is legal", lambda scores: scores.legal_top),
    ("legal_mass", "mass on legal", lambda scores: scores.legal_mass),
)
_WITH_INTERVAL = ("top1_legal", "nll_legal")


def rounded(value: float) -> float:
    """Give a figure with the digits that are kept."""
    return round(float(value), _DIGITS)


def bootstrap(sums: Floats, plies: Floats, resamples: int = 200, seed: int = 0) -> Floats:
    """Give the 95 % interval, [figures, 2], of each mean over plies, from games drawn anew with replacement.

    sums: float64 [games, figures], added up over a game's plies
    plies: float64 [games], none of them 0

    Games, not plies, are drawn, for the plies of a game are alike. Percentile interval: Efron and Tibshirani, An
    Introduction to the Bootstrap (1993), section 13.3.
    """
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    for resample in means:
        drawn = np.bincount(rng.integers(len(plies), size=len(plies)), minlength=len(plies))
        resample[:] = drawn @ sums / (drawn @ plies)
    interval: Floats = np.percentile(means, [2.5, 97.5], axis=0).T
    return interval


def mean_by_game(game: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> tuple[float, list[float]]:
    """Give the mean of N values and its 95 % interval, where whole games are drawn; ``game [N]`` are their numbers."""
    _, inverse = np.unique(game, return_inverse=True)
    sums, plies = np.bincount(inverse, values).astype(np.float64), np.bincount(inverse).astype(np.float64)
    interval = bootstrap(sums[:, None], plies)[0]
    return rounded(sums.sum() / plies.sum()), [rounded(end) for end in interval]


def _figures(scores: Scores, chosen: Mask) -> dict[str, Any]:
    """Give the figures of the ``chosen`` plies, at least one; shares are from 0 to 1, NLL in nats."""
    figures: dict[str, Any] = {"games": len(np.unique(scores.game[chosen])), "plies": int(chosen.sum())}
    for name, _, measure in _MEASURES:
        values = measure(scores)[chosen]
        if name in _WITH_INTERVAL:
            figures[name], figures[f"{name}_95"] = mean_by_game(scores.game[chosen], values)
        else:
            figures[name] = rounded(values.mean(dtype=np.float64))
    return figures


def summarise(scores: Scores, more: Mapping[str, Mask] | None = None) -> dict[str, dict[str, Any]]:
    """Give the figures of each group that has plies, ready for JSON: all, late ones, by ply, by the mover's rating.

    ``more`` has further groups, each bool [N]. ``top1`` and ``top5`` are shares of plies, ``nll`` is the mean in nats,
    ``legal_rate`` the share of plies whose raw first move is legal, ``legal_mass`` the mean raw probability of the
    legal moves; ``_95`` is an interval.
    """
    groups = {"all": np.ones(len(scores.ply), bool), "plies 10 and later": scores.ply >= 10}
    groups |= {f"plies {name}": (scores.ply >= low) & (scores.ply < high) for name, (low, high) in PLY_BANDS.items()}
    if scores.rating is not None:
        band = np.searchsorted(_RATING_EDGES, scores.rating, side="right")
        groups |= {f"mover {name}": band == place for place, name in enumerate(RATING_BANDS)}
    groups |= more or {}
    return {name: _figures(scores, chosen) for name, chosen in groups.items() if chosen.any()}


def curves(scores: Scores) -> dict[str, list[dict[str, Any]]]:
    """Give the figures by ply and, where there are ratings, by the mover's rating, in fine groups, for a plot.

    Each group has ``from`` and ``to``, plies or points of rating from the one to below the other.
    """
    found = {"by_ply": _curve(scores, scores.ply, _PLIES, _LAST_PLY)}
    if scores.rating is not None and (scores.rating >= 0).any():
        found["by_rating"] = _curve(scores, scores.rating, _POINTS, int(scores.rating.max()) + 1)
    return found


def _curve(scores: Scores, values: npt.NDArray[Any], step: int, end: int) -> list[dict[str, Any]]:
    groups = []
    for low in range(0, end, step):
        chosen = (values >= low) & (values < low + step)
        if chosen.any():
            figures = _figures(scores, chosen)
            kept = {key: figures[key] for key in figures if key in ("games", "plies") or key.startswith(_WITH_INTERVAL)}
            groups.append({"from": low, "to": low + step} | kept)
    return groups


def _cell(figures: dict[str, Any], name: str) -> str:
    factor, digits, unit = (1, 3, "") if name.startswith("nll") else (100, 2, " %")
    text = f"{factor * figures[name]:.{digits}f}{unit}"
    if f"{name}_95" not in figures:
        return text
    low, high = (f"{factor * end:.{digits}f}" for end in figures[f"{name}_95"])
    return f"{text} ({low} to {high})"


def format_figures(summary: dict[str, dict[str, Any]]) -> str:
    """Write what ``summarise`` gave as a Markdown table, one group a row; in brackets the 95 % interval."""
    lines = ["| | plies | " + " | ".join(heading for _, heading, _ in _MEASURES) + " |"]
    lines.append("|---|" + "---:|" * (1 + len(_MEASURES)))
    for group, figures in summary.items():
        cells = [group, f"{figures['plies']:,}", *(_cell(figures, name) for name, _, _ in _MEASURES)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
