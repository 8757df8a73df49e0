"""Reads the answers for one model and draws them: files whose names begin with the model's."""

from pathlib import Path
from typing import Any

import matplotlib

Answer = dict[str, Any]

_COLOURS = "tab:blue", "tab:orange", "tab:green"


def draw(out: Path, slug: str, answers: Answer, p99: float) -> list[Path]:
    """Draw all pictures of a model into a folder; ``p99`` is what is aimed at, in seconds. Give their paths."""
    drawn = {"connections": _connections, "load": _loads, "failures": _failures}
    paths = [out / f"{slug}-{name}.png" for name in drawn]
    for path, picture in zip(paths, drawn.values(), strict=True):
        picture(path, answers, p99)
    return paths


def _pyplot() -> Any:
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def _connections(path: Path, answers: Answer, p99: float) -> None:
    """Draw requests/s and p99 over connections, lines simulated, dots measured."""
    pyplot = _pyplot()
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
    for (workers, runs), colour in zip(answers["connections"].items(), _COLOURS, strict=False):
        numbers = [run["connections"] for run in runs]
        name = f"{workers} worker{'s' if workers != '1' else ''}"
        measured = [run["measured"] for run in answers["check"] if str(run["measured"]["workers"]) == workers]
        dots = [run["connections"] for run in measured]
        for axes, key, dot, scale in ((above, "per_second", "requests_per_second", 1), (below, "p99", "p99", 1000)):
            axes.plot(numbers, [run[key] * scale for run in runs], color=colour, label=f"{name}, simulated")
            axes.plot(dots, [run[dot] * scale for run in measured], "o", color=colour, label=f"{name}, measured")
    above.set(
        title=f"{answers['model']}: one machine of two cores, load generator included", ylabel="requests/s", ylim=0
    )
    below.set(xscale="log", yscale="log", xlabel="connections", ylabel="p99, ms")
    below.set_xticks(numbers, map(str, numbers))
    below.minorticks_off()
    above.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _loads(path: Path, answers: Answer, p99: float) -> None:
    """Draw p50 and p99, and rows of a tick, over the load of a worker."""
    pyplot = _pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for (name, found), colour in zip(answers["loads"].items(), _COLOURS, strict=False):
        fills = [100 * run["fill"] for run in found["runs"]]
        for key, style in (("p99", "-"), ("p50", ":")):
            times = [1000 * run[key] for run in found["runs"]]
            left.plot(fills, times, style, color=colour, label=f"{key}, {name}")
        right.plot(fills, [run["rows_of_tick"] for run in found["runs"]], "-", color=colour, label=f"tick, {name}")
        right.plot(fills, [run["rows_of_commit"] for run in found["runs"]], ":", color=colour, label=f"commit, {name}")
    left.axhline(1000 * p99, color="grey", linewidth=0.8)
    left.set(title=f"{answers['model']}: a worker and a shard", ylabel="ms", ylim=0)
    right.set(title="Rows that share a tick, and a commit", ylabel="rows", ylim=0)
    for axes in (left, right):
        axes.set(xlabel="load, % of what the worker can do at most")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _failures(path: Path, answers: Answer, p99: float) -> None:
    """Draw p99 of what was sent at each time, one panel a failure."""
    pyplot = _pyplot()
    found = answers["failures"]
    panels = found["failures"]
    figure, rows = pyplot.subplots(len(panels), 1, sharex=True, sharey=True, figsize=(8, 8), layout="constrained")
    for axes, (name, failure) in zip(rows, panels.items(), strict=True):
        axes.axvspan(found["begins"], found["begins"] + found["lasts"], color="0.92")
        for (whose, over_time), colour in zip(failure["sessions"].items(), _COLOURS, strict=False):
            times = [1000 * value for value in over_time["p99"]]
            axes.plot(over_time["time"], times, color=colour, label=f"p99, {whose}")
        axes.axhline(1000 * p99, color="grey", linewidth=0.8)
        axes.set(title=name, yscale="log", ylabel="ms")
        axes.legend(fontsize="small")
    rows[-1].set(xlabel="seconds at which a request was sent first")
    figure.suptitle(f"{answers['model']}: {found['workers']} workers and {found['shards']} shards, planned load")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
