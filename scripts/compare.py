"""Run ``python -m scripts.compare --run runs/chess-3 --vary cell=rnn,gru,lstm --tokens 300000 --out runs/cells``.

Reads the packed games and the settings of a training run, trains variants of it alike, on the same plies in the same
order, and gives one table: what each costs and how well it predicts games held out from all of them.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from model.artifact import Artifact, ArtifactError
from model.cost import operations
from model.export import ExportError, load_network, write_step
from model.games import load_game
from model.network import Shape
from model.run import Run, Settings
from model.stepgraph import FloatOps
from model.workers import fit
from scripts.arguments import count
from scripts.bench import random_inputs, time_steps
from scripts.export import export_run
from service.engine import Engine

_ROWS, _ROUNDS, _SECONDS = 64, 5, 0.5
_SHAPE = {field.name: field.type for field in fields(Shape)}
_KINDS = _SHAPE | {field.name: field.type for field in fields(Settings)}

Variant = dict[str, Any]


def _vary(text: str) -> tuple[str, list[Any]]:
    """Read ``blocks=4,6`` as the values of a field of Shape or Settings."""
    name, _, values = text.partition("=")
    if name not in _KINDS or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=A,B,…; fields are {', '.join(sorted(_KINDS))}")
    kind = {int: int, float: float, bool: lambda word: word == "yes"}.get(_KINDS[name], str)
    return name, [kind(word) for word in values.split(",")]


def _variants(varied: list[tuple[str, list[Any]]]) -> Iterator[Variant]:
    names = [name for name, _ in varied]
    for values in product(*(values for _, values in varied)):
        yield dict(zip(names, values, strict=True))


def _name(variant: Variant) -> str:
    return ", ".join(f"{name} {value}" for name, value in variant.items())


def _settings(base: Variant, variant: Variant, tokens: int) -> Settings:
    shape = Shape(**base["shape"] | {name: value for name, value in variant.items() if name in _SHAPE})
    rest = {name: value for name, value in variant.items() if name not in _SHAPE}
    return Settings(**base | {"shape": shape, "tokens": tokens, "cooldown": 1.0} | rest)


def _train(source: Path, out: Path, variant: Variant, tokens: int) -> Artifact:
    """Train and export one variant; one that is finished is left as it is."""
    about = json.loads((source / "settings.json").read_text())
    settings = _settings(about.pop("training"), variant, tokens)
    run = Run(out / "-".join(str(value) for value in variant.values()))
    games = run.folder / "games"
    if not games.exists():
        games.symlink_to((source / "games").resolve())
    run.write_settings(settings, about | {"from": None})
    fit(load_game(about["game"], about["vocabulary"]), games, settings, run)
    return export_run(run.folder, run.folder / "artifact" / "1", "int8")


def _costs(artifact: Artifact) -> dict[str, float]:
    """Give the number of parameters and what a step costs in float32."""
    network = load_network(artifact)
    mflop = operations(write_step(FloatOps(), artifact.game, network)) / 1e6
    return {"parameters": sum(parameter.numel() for parameter in network.parameters()), "mflop": round(mflop, 1)}


def _speeds(artifacts: list[Artifact]) -> list[float]:
    """Give steps/s of each engine at 64 rows, the median of rounds in which they take turns."""
    engines = [Engine(artifact) for artifact in artifacts]
    inputs = random_inputs(artifacts[0].game, _ROWS, seed=0)
    rounds = [[time_steps(engine, inputs, _SECONDS) for engine in engines] for _ in tqdm(range(_ROUNDS), "measuring")]
    speeds: list[float] = np.median(rounds, axis=0).tolist()
    return speeds


def _compare(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    variants = list(_variants(arguments.vary))
    artifacts = [_train(arguments.run, arguments.out, variant, arguments.tokens) for variant in variants]
    results = []
    for variant, artifact, speed in zip(variants, artifacts, _speeds(artifacts), strict=True):
        parity = artifact.manifest.parity
        figures = {precision: parity[precision] for precision in ("fp32", "int8")}
        results.append(variant | _costs(artifact) | {"steps_per_second": round(speed)} | figures)
    return results


def _table(results: list[dict[str, Any]], varied: list[str]) -> str:
    lines = ["| | parameters | MFLOP | steps/s | top-1 | NLL | NLL in int8 |", "|---|" + 6 * "---:|"]
    for row in results:
        name, fp32 = _name({name: row[name] for name in varied}), row["fp32"]
        costs = [f"{row['parameters']:,}", f"{row['mflop']}", f"{row['steps_per_second']:,}"]
        quality = [f"{100 * fp32['top1']:.1f} %", f"{fp32['nll']:.3f}", f"{row['int8']['nll']:.3f}"]
        lines.append("| " + " | ".join([name, *costs, *quality]) + " |")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> None:
    """Train, export, measure, and print the table; what a person can put right ends in a message."""
    parser = argparse.ArgumentParser(prog="python -m scripts.compare", description="Train variants of a network alike.")
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="a run: its games and settings")
    parser.add_argument(
        "--vary", type=_vary, nargs="+", required=True, metavar="FIELD=A,B", help="what differs, or is to be as given"
    )
    parser.add_argument("--tokens", type=count, required=True, metavar="N", help="plies that each is trained on")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the variants are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args(words)
    try:
        results = _compare(arguments)
    except (ArtifactError, ExportError, OSError, ValueError) as error:
        sys.exit(f"compare: {error}")
    # What is the same for all is in the command.
    print(_table(results, [name for name, values in arguments.vary if len(values) > 1]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"tokens": arguments.tokens, "variants": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
