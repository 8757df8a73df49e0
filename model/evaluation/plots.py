"""Reads a report as it goes into JSON and gives its pictures: by ply, by rating, calibration, what ratings do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Results = Mapping[str, Mapping[str, Any]]

_PANELS = (("top1_legal", "top-1, legal moves"), ("nll_legal", "NLL, legal moves (nats)"))
# A group of fewer games says nothing, and its interval even less.
_FEWEST_GAMES = 5


def draw_report(results: Results, folder: Path) -> list[Path]:
    """Draw what there is of every model's results; give the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"by-ply": _draw_curves(results, "by_ply", "ply")}
    if any("by_rating" in result for result in results.values()):
        figures["by-rating"] = _draw_curves(results, "by_rating", "rating of the player to move")
    for name, result in results.items():
        figures[f"calibration {name}"] = draw_calibration(name, result["calibration"])
        if "ratings" in result:
            figures[f"ratings {name}"] = _draw_ratings(name, result["ratings"])
    return [save(figure, folder, name) for name, figure in figures.items()]


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write a picture under a name that any file system takes."""
    path = folder / ("".join(sign if sign.isalnum() else "-" for sign in name) + ".png")
    figure.savefig(path, dpi=100)
    return path


def _draw_curves(results: Results, key: str, label: str) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (name, heading) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        for model, result in results.items():
            groups = [group for group in result.get(key, ()) if group["games"] >= _FEWEST_GAMES]
            middle = [(group["from"] + group["to"]) / 2 for group in groups]
            axes.plot(middle, [group[name] for group in groups], marker=".", label=model)
            low, high = ([group[f"{name}_95"][end] for group in groups] for end in (0, 1))
            axes.fill_between(middle, low, high, alpha=0.2)
        axes.set(xlabel=label, title=heading)
        axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_calibration(name: str, found: Mapping[str, Any]) -> Figure:
    """Draw played against predicted, above how many moves each point stands for."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    rows = figure.subplots(2, 2, height_ratios=(3, 1), sharex="col")
    for column, (key, heading) in enumerate((("top_move", "first move"), ("legal_moves", "all legal moves"))):
        _draw_reliability(rows[0, column], rows[1, column], found[key], key == "legal_moves")
        rows[0, column].set_title(f"{name}, {heading}: ECE {100 * found[key]['ece']:.2f} points")
    return figure


def _draw_reliability(above: Axes, below: Axes, found: Mapping[str, Any], logarithmic: bool) -> None:
    bins = found["bins"]
    predicted, played = ([entry[key] for entry in bins] for key in ("predicted", "played"))
    lowest = min([0.5, *(value for value in (*predicted, *played) if value > 0)])
    above.plot([lowest if logarithmic else 0, 1], [lowest if logarithmic else 0, 1], color="grey", linewidth=1)
    above.plot(predicted, played, marker="o", markersize=4)
    if logarithmic:
        above.set(xscale="log", yscale="log")
    above.set(ylabel="share played")
    begins = [max(entry["from"], lowest) if logarithmic else entry["from"] for entry in bins]
    widths = [entry["to"] - begin for entry, begin in zip(bins, begins, strict=True)]
    below.bar(begins, [entry["moves"] for entry in bins], widths, align="edge", edgecolor="white")
    below.set(xlabel="probability given", ylabel="moves", yscale="log")
    for axes in (above, below):
        axes.grid(alpha=0.3)


def _draw_ratings(name: str, found: Mapping[str, Any]) -> Figure:
    """Draw NLL against how far both ratings are from the right ones; the line is NLL without any."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    variants = found["variants"]
    points = {0 if key == "right" else int(key): entry for key, entry in variants.items() if key != "hidden"}
    shifts = sorted(points)
    axes.plot(shifts, [points[shift]["nll_legal"] for shift in shifts], marker="o", label="both ratings moved")
    axes.axhline(variants["hidden"]["nll_legal"], color="grey", linestyle="--", label="both hidden")
    axes.set(xlabel="points from the right ratings", ylabel="NLL, legal moves (nats)", title=name)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
