"""Reads players' profiles as they go into JSON and gives a picture of each: by game, by ply, by rating assumed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.evaluation.plots import save


def draw_profiles(profiles: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw a picture a player; give the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [save(draw_profile(name, found), folder, name) for name, found in profiles.items()]


def draw_profile(name: str, found: Mapping[str, Any]) -> Figure:
    """Draw the profile of one player."""
    panels = 3 if "fit" in found else 2
    figure = Figure(figsize=(5 * panels, 4), layout="constrained")
    axes = figure.subplots(1, panels)
    _draw_parts(axes[0], list(range(1, found["games"] + 1)), found["by_game"])
    axes[0].set(xlabel="game", title="surprisal of the moves of a game (nats)")
    _draw_parts(axes[1], [(part["from"] + part["to"]) / 2 for part in found["by_ply"]], found["by_ply"])
    axes[1].set(xlabel="ply", title="surprisal by ply (nats)")
    if "fit" in found:
        _draw_fit(axes[2], found["fit"], found["rating"])
    figure.suptitle(f"{name.replace('$', ' ')}: {found['plies']:,} moves, z {found['z']:+.1f}")
    return figure


def _draw_parts(axes: Axes, places: Sequence[float], parts: Sequence[Mapping[str, Any]]) -> None:
    """Draw what was seen, and what the model expects with 1.96 standard errors on either side."""
    margins = [1.96 * part["standard_error"] for part in parts]
    expected = [part["expected"] for part in parts]
    axes.errorbar(places, expected, margins, fmt="_", color="grey", capsize=2, label="expected, 95 %")
    axes.plot(places, [part["surprisal"] for part in parts], "o", markersize=4, label="seen")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_fit(axes: Axes, fit: Mapping[str, Any], rating: int | None) -> None:
    axes.plot([int(begin) for begin in fit["nll"]], list(fit["nll"].values()), marker=".")
    axes.axvspan(fit["low"], fit["high"], alpha=0.2, label="fits, 95 %")
    if rating is not None:
        axes.axvline(rating, color="grey", linestyle="--", label="recorded")
    axes.set(xlabel="rating assumed", title="NLL of the moves (nats)")
    axes.grid(alpha=0.3)
    axes.legend()
