"""Run ``python -m scripts.long_memory``, or with ``--clipping``.

Trains every cell on sentences whose verb agrees with a noun far back, from three seeds, and gives
``docs/long-memory.png`` and ``.json``: what each has learnt, and how much of a gradient gets that far. ``--clipping``
trains two cells with their gradients clipped and not, and gives ``docs/clipping.png`` and ``.json``.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from tqdm import tqdm

from model.agreement import Course, Reader, accuracy, learn, reach
from model.cells import CELLS

DISTANCES = (5, 10, 20, 40, 80)
# Each line of the picture is a cell. Those of an LSTM differ in where the biases of its forget gates start: 1.
LINES: Mapping[str, tuple[str, float | None]] = {
    **{kind: (kind, None) for kind in CELLS},
    "lstm, forget bias 0": ("lstm", 0.0),
    "lstm, forget bias 3": ("lstm", 3.0),
}
# Clipping is shown where gradients grow long: at high rates, on sentences short enough for every cell to learn.
CLIPPED = {
    "rnn, SGD at rate 0.5": ("rnn", {"optimiser": "SGD", "rate": 0.5}),
    "lstm, SGD at rate 3": ("lstm", {"optimiser": "SGD", "rate": 3.0}),
    "rnn, Adam at rate 0.005": ("rnn", {"optimiser": "Adam", "rate": 5e-3}),
}
_CLIPS = {"not clipped": math.inf, "clipped at 1": 1.0}
_SHORT = (3, 5, 10, 20)
_SEEDS = 3


def measure(name: str, distances: list[int], course: Course) -> dict[str, Any]:
    """Train one cell at each distance alone and at all of them together; give what it learnt and how far it reaches.

    All of them together may take as many steps as each of them alone do in sum.
    """
    kind, forget = LINES[name]
    reader = Reader(kind, course, forget)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in reader.cell.parameters())}
    found["gradient_before"] = [reach(reader, distance) for distance in distances]
    readers = {distance: Reader(kind, course, forget) for distance in distances}
    found["steps"] = [len(learn(r, [d], course, f"{name} at {d}")) for d, r in readers.items()]
    found["accuracy"] = [accuracy(readers[distance], distance) for distance in distances]
    found["gradient_after"] = [reach(readers[distance], distance) for distance in distances]
    together = replace(course, steps=len(distances) * course.steps)
    found["steps_mixed"] = len(learn(reader, distances, together, f"{name} at all"))
    found["accuracy_mixed"] = [accuracy(reader, distance) for distance in distances]
    return found


def draw_memory(path: Path, distances: list[int], cells: dict[str, list[dict[str, Any]]]) -> None:
    """Draw four panels against distance: one line a cell, through the median of its seeds, and a band over all."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    titles = {
        "accuracy": "Verbs right, trained at this distance alone",
        "accuracy_mixed": "Verbs right, trained at all of them together",
        "gradient_before": "Gradient at the subject, before training",
        "gradient_after": "Gradient at the subject, after training at this distance alone",
    }
    for axes, (measured, title) in zip(panels.flat, titles.items(), strict=True):
        for number, (name, seeds) in enumerate(cells.items()):
            style = {"linestyle": "--" if "," in name else "-", "marker": "o<>^v*sD"[number], "alpha": 0.8}
            low, middle, high = np.quantile([found[measured] for found in seeds], (0, 0.5, 1), axis=0)
            (line,) = axes.plot(distances, middle, label=name, **style)
            axes.fill_between(distances, low, high, color=line.get_color(), alpha=0.1, linewidth=0)
        axes.set(title=title, xscale="log", xlabel="words between subject and verb")
        axes.set_xticks(distances, map(str, distances))
        axes.minorticks_off()
        if measured.startswith("accuracy"):
            axes.axhline(0.5, color="grey", linewidth=0.8)
            axes.set(ylim=(0.4, 1.03), ylabel="share right (0.5 is chance)")
        else:
            axes.set(yscale="log", ylabel="norm, per unit of error")
    panels[0, 0].legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_clipping(path: Path, runs: dict[str, dict[str, Any]]) -> None:
    """Draw loss and gradient norm over steps, one column a cell and optimiser, one line a seed."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(2, len(runs), sharex=True, sharey="row", figsize=(12, 6), layout="constrained")
    for (above, below), (title, run) in zip(panels.T, runs.items(), strict=True):
        for name, colour in zip(_CLIPS, ("tab:blue", "tab:orange"), strict=True):
            for seed, found in enumerate(run[name]):
                above.plot(found["loss"], color=colour, alpha=0.6, linewidth=1, label=None if seed else name)
                below.plot(found["norm"], color=colour, alpha=0.6, linewidth=1)
        above.set(title=title, yscale="log")
        below.set(yscale="log", xlabel="steps")
        below.axhline(1, color="grey", linewidth=0.8)
    panels[0, 0].set(ylabel="loss, nats")
    panels[1, 0].set(ylabel="gradient norm before clipping")
    panels[0, 0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _pyplot() -> Any:
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def long_memory(out: Path, distances: list[int], course: Course) -> None:
    """Write the picture and the figures of every cell, from as many seeds as clipping is shown with."""
    began = time.process_time()
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in LINES}
    for number, name in tqdm(list(itertools.product(range(_SEEDS), LINES)), unit="cell"):
        cells[name].append(measure(name, distances, replace(course, seed=course.seed + number)))
    draw_memory(out / "long-memory.png", distances, cells)
    report = {"distances": distances, "course": asdict(course), "cells": cells}
    _write(out / "long-memory.json", report | {"processor_seconds": round(time.process_time() - began)})


def clipping(out: Path, distances: list[int], course: Course) -> None:
    """Write the picture and the figures of the same training with and without clipping."""
    runs: dict[str, dict[str, Any]] = {}
    for title, (kind, options) in tqdm(CLIPPED.items(), unit="cell"):
        runs[title] = {name: [] for name in _CLIPS}
        for name, seed in itertools.product(_CLIPS, range(_SEEDS)):
            own = replace(course, **options, clip=_CLIPS[name], solved=0.0, seed=seed)
            reader = Reader(kind, own)
            steps = learn(reader, distances, own, f"{title}, {name}")
            loss, norm = ([float(f"{value:.3g}") for value in column] for column in steps.T)
            right = [accuracy(reader, distance) for distance in distances]
            runs[title][name].append({"accuracy": right, "loss": loss, "norm": norm})
    draw_clipping(out / "clipping.png", runs)
    _write(out / "clipping.json", {"distances": distances, "course": asdict(course), "runs": runs})


def _write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report) + "\n")
    print(path)


def main(words: list[str] | None = None) -> None:
    """Train, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m scripts.long_memory", description="Show what cells remember.")
    parser.add_argument("--clipping", action="store_true", help="show what clipping gradients does instead")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="FOLDER", help="(docs)")
    parser.add_argument("--distances", type=int, nargs="+", metavar="N", help="words between subject and verb")
    for field in fields(Course):
        kind = type(field.default)
        parser.add_argument(f"--{field.name}", type=kind, default=field.default, metavar="N", help=f"({field.default})")
    arguments = parser.parse_args(words)
    course = Course(**{field.name: getattr(arguments, field.name) for field in fields(Course)})
    torch.set_num_threads(1)
    show, usual = (clipping, _SHORT) if arguments.clipping else (long_memory, DISTANCES)
    show(arguments.out, arguments.distances or list(usual), course)


if __name__ == "__main__":
    main()
