"""Reads the results of all parts and gives their pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from scripts.benchmarks.figures import Run, matching, middle, values
from scripts.benchmarks.game_length import GROWING, RESENT, SESSION
from scripts.benchmarks.servers import UNSYNCED
from scripts.benchmarks.tables import contender

_COLOURS = {"nextply": "tab:blue", UNSYNCED: "tab:cyan", "triton": "tab:green", "by_hand": "tab:orange"}
_LINES = {1: "-", 2: "--"}
_WAYS = {SESSION: "a move in a session", RESENT: "the whole game sent", GROWING: "… that grew by a move"}


def draw(results: Mapping[str, Sequence[Run]], folder: Path) -> list[Path]:
    """Draw what there is; give the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures: Mapping[str, Callable[[Sequence[Run]], Figure]] = {
        "http": single_moves, "plies": game_length, "engine": engine
    }  # fmt: skip
    drawn = []
    for name, picture in pictures.items():
        if results.get(name):
            drawn.append(folder / f"{name}.png")
            picture(results[name]).savefig(drawn[-1], dpi=100)
    return drawn


def single_moves(runs: Sequence[Run]) -> Figure:
    """Draw requests a second and p99 against connections, a line for each server."""
    models = values(runs, "model")
    figure = Figure(figsize=(11, 4 * len(models)), layout="constrained")
    for row, model in zip(figure.subplots(len(models), 2, squeeze=False), models, strict=True):
        of_model = matching(runs, model=model)
        for server, workers in dict.fromkeys((run["server"], run["workers"]) for run in of_model):
            at = {"server": server, "workers": workers}
            counts = sorted(values(matching(of_model, **at), "connections"))
            style = {"color": _COLOURS[server], "linestyle": _LINES.get(workers, ":"), "marker": "o", "markersize": 4}
            for axes, name, unit in zip(row, ("requests_per_second", "p99"), (1, 1000), strict=True):
                heights = [unit * (middle(of_model, name, connections=count, **at) or 0) for count in counts]
                axes.plot(counts, heights, label=contender(server, workers), **style)
        row[0].set(ylabel="requests/s", ylim=(0, None))
        row[1].set(ylabel="p99, ms", yscale="log")
        for axes in row:
            axes.set(xlabel="connections", xscale="log", title=f"{model}: one move a request")
            _finish(axes, values(runs, "connections"))
    return figure


def game_length(runs: Sequence[Run]) -> Figure:
    """Draw the service's processor time of a move against the ply, a line for each way to ask."""
    models = values(runs, "model")
    figure = Figure(figsize=(5.5 * len(models), 4), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        plies = sorted(values(runs, "ply"))
        for way, label in _WAYS.items():
            heights = [1000 * (middle(runs, "cpu", model=model, way=way, ply=ply) or 0) for ply in plies]
            axes.plot(plies, heights, marker="o", label=label)
        axes.set(xlabel="ply", ylabel="CPU of the service, ms a move", xscale="log", yscale="log", title=model)
        _finish(axes, plies)
    return figure


def engine(runs: Sequence[Run]) -> Figure:
    """Draw steps a second against the rows of a step, a line for each precision."""
    models = values(runs, "model")
    figure = Figure(figsize=(5.5 * len(models), 4), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        rows = sorted(values(runs, "rows"))
        for precision in values(runs, "precision"):
            at = {"model": model, "precision": precision}
            rates = [middle(runs, "steps_per_second", rows=count, **at) or 0 for count in rows]
            axes.plot(rows, rates, marker="o", label=precision)
        axes.set(xlabel="rows of a step", ylabel="steps/s on one thread", xscale="log", ylim=(0, None), title=model)
        _finish(axes, rows)
    return figure


def _finish(axes: Axes, counts: Sequence[int]) -> None:
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(alpha=0.3)
    axes.legend()
