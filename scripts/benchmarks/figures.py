"""Reads what was measured round by round and gives medians, ratios of one round, and lines through points."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Run = Mapping[str, Any]
"""One measurement: what was measured, in which ``round``, and its figures."""


def matching(runs: Sequence[Run], **like: Any) -> list[Run]:
    """Give the runs whose members are these, in the order of their rounds."""
    found = [run for run in runs if all(run.get(name) == value for name, value in like.items())]
    return sorted(found, key=lambda run: run["round"])


def middle(runs: Sequence[Run], figure: str, **like: Any) -> float | None:
    """Give the median of a figure over the rounds; None if it was not measured."""
    found = [run[figure] for run in matching(runs, **like) if run.get(figure) is not None]
    return median(found) if found else None


def ratio(runs: Sequence[Run], figure: str, of: Run, to: Run) -> float | None:
    """Give the median over the rounds of a figure of ``of`` divided by that of ``to``; None without a common round.

    Both are of one round, so that a machine that was slow for a while was slow for both.
    """
    dividends = {run["round"]: run[figure] for run in matching(runs, **of)}
    divisors = {run["round"]: run[figure] for run in matching(runs, **to)}
    quotients = [dividends[number] / divisors[number] for number in dividends.keys() & divisors.keys()]
    return median(quotients) if quotients else None


def values(runs: Sequence[Run], member: str) -> list[Any]:
    """Give the different values of a member, in the order in which they come."""
    return list(dict.fromkeys(run[member] for run in runs))


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Give base and slope of the line that fits points best by relative error, neither below 0.

    Least squares weighted by 1/y²: a point of 64 rows must not outweigh all others.
    """
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    x_mean = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    y_mean = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = sum(w * (x - x_mean) * (y - y_mean) for w, (x, y) in zip(weights, points, strict=True)) / spread
    slope = max(0.0, slope)
    base = y_mean - slope * x_mean
    if base < 0:
        # Through the origin: what fits best is then the weighted mean of y / x.
        return 0.0, sum(w * x * y for w, (x, y) in zip(weights, points, strict=True)) / sum(
            w * x * x for w, (x, _) in zip(weights, points, strict=True)
        )
    return base, slope
