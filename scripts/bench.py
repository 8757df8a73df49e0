"""Run ``python -m scripts.bench``: measures the engine's steps/s by rows and precision.

Reads a shipped model, exports its weights in both precisions, and times them in turn, round by round, on one thread;
the last line is JSON. Machines are noisy: compare ratios of one run, not figures of two.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from tqdm import tqdm

from model.artifact import Artifact, ArtifactError, write_manifest
from model.cost import operations
from model.export import load_network, write_step
from model.games import Game
from model.stepgraph import FloatOps
from service.engine import Engine, Input

_PLIES = 80


def _float32_artifact(artifact: Artifact, folder: Path) -> Artifact:
    """Write the artifact's weights as a float32 graph."""
    ops = FloatOps()
    (folder / artifact.graph.name).write_bytes(
        write_step(ops, artifact.game, load_network(artifact)).SerializeToString()
    )
    manifest = artifact.manifest.model_dump(exclude={"format", "sha256"})
    write_manifest(folder, manifest | {"precision": ops.precision, "state": ops.state})
    return Artifact.load(folder)


def engines_of(artifact: Artifact, folder: Path) -> dict[str, Engine]:
    """Give an engine for the artifact's weights in either precision; ``folder`` takes files that then may go."""
    return {"fp32": Engine(_float32_artifact(artifact, folder)), "int8": Engine(artifact)}


def random_inputs(game: Game, rows: int, seed: int) -> list[Input]:
    """Give one input a row, each from a random game of random length."""
    rng = np.random.default_rng(seed)
    inputs = []
    for _ in range(rows):
        position, token = game.new_position(), game.vocabulary.start
        for _ in range(int(rng.integers(1, _PLIES))):
            legal = position.legal()
            if legal is not None and not len(legal):
                break
            token = int(rng.choice(legal)) if legal is not None else int(rng.integers(len(game.vocabulary)))
            position.play(token)
        inputs.append(Input(token, game.seen([0] * len(game.context), position.player), position.cells()))
    return inputs


def time_steps(engine: Engine, inputs: list[Input], seconds: float) -> float:
    """Give steps/s, states carried on from step to step."""
    states = [engine.initial] * len(inputs)
    steps, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        _, states = engine.step(inputs, states)
        steps += len(inputs)
    return steps / elapsed


def main(words: list[str] | None = None) -> None:
    """Measure and print a table, then one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description="Measure the engine.")
    parser.add_argument("--model", type=Path, default=Path("artifacts/chess/3"), help="(artifacts/chess/3)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 64], help="rows of a step (1 8 64)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds, of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (1)")
    arguments = parser.parse_args(words)
    try:
        artifact = Artifact.load(arguments.model)
    except ArtifactError as error:
        sys.exit(f"bench: {error}")
    results: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        engines = engines_of(artifact, Path(folder))
        mflop = operations(onnx.load(Path(folder) / artifact.graph.name)) / 1e6
    measurements = [(rows, name) for rows in arguments.rows for _ in range(arguments.rounds) for name in engines]
    rates: dict[tuple[int, str], list[float]] = {}
    for rows, name in tqdm(measurements, desc="measuring"):
        inputs = random_inputs(artifact.game, rows, seed=rows)
        rates.setdefault((rows, name), []).append(time_steps(engines[name], inputs, arguments.seconds))
    print(f"{mflop:.1f} MFLOP a step\n")
    print("| rows | fp32 steps/s | int8 steps/s | int8 / fp32 |\n|---:|---:|---:|---:|")
    for rows in arguments.rows:
        fp32, int8 = (float(np.median(rates[rows, name])) for name in ("fp32", "int8"))
        ratio = float(np.median(np.divide(rates[rows, "int8"], rates[rows, "fp32"])))
        print(f"| {rows} | {fp32:,.0f} | {int8:,.0f} | {ratio:.2f} |")
        results.append({"rows": rows, "fp32": round(fp32), "int8": round(int8), "ratio": round(ratio, 2)})
    name = f"{artifact.manifest.name}/{artifact.manifest.version}"
    print(json.dumps({"model": name, "mflop": round(mflop, 1), "steps_per_second": results}))


if __name__ == "__main__":
    main()
