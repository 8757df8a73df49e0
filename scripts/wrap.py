"""Run ``python -m scripts.wrap --graph gru.onnx --vocabulary moves.txt --out artifacts/mine/1``.

Reads a step graph that anybody exported and gives the folder that the service serves, if the graph keeps the contract.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from model.artifact import CELLS, GRAPH, LOGITS, SEEN, TOKENS, Artifact, ArtifactError, write_manifest
from model.games import Game, load_game
from model.runtime import open_session
from service.engine import Engine, Input, Rows

# Rows of the batches, and plies of the games, that are compared with games alone.
_COMPANY, _PLIES = (2, 3, 5, 8, 17, 33, 64), 12
_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


@dataclass(frozen=True)
class Wish:
    """What is not in the graph: its game, where each state comes out, what it begins with, words for people."""

    game: Game
    outputs: dict[str, str] = field(default_factory=dict)
    initial: dict[str, int] = field(default_factory=dict)
    cell: str = "unknown"
    precision: str = "fp32"
    tolerance: float = 0.0


def read_state(graph: Path, wish: Wish) -> list[dict[str, Any]]:
    """Give the state tensors of a graph as a manifest has them; ArtifactError says what is none."""
    session = _open(graph)
    outputs = [value.name for value in session.get_outputs()]
    inputs = {value.name: value for value in session.get_inputs() if value.name not in (TOKENS, SEEN, CELLS)}
    if not inputs:
        raise ArtifactError(f"{graph}: it reads {TOKENS!r} and no state, so it remembers nothing")
    for name in (*wish.outputs, *wish.initial):
        if name not in inputs:
            raise ArtifactError(f"{graph}: no state is called {name!r}: there are {', '.join(sorted(inputs))}")
    state = []
    for name, value in inputs.items():
        output = wish.outputs.get(name, f"{name}_after")
        rows, *shape = value.shape or [0]
        if output not in outputs:
            others = ", ".join(other for other in outputs if other != LOGITS)
            raise ArtifactError(f"{graph}: no output is called {output!r}; say --state {name}=OUTPUT, one of: {others}")
        if value.type not in _DTYPES or isinstance(rows, int) or not all(isinstance(size, int) for size in shape):
            right = "a state is float32 or uint8, [rows, …], the first axis free and the others fixed"
            raise ArtifactError(f"{graph}: input {name!r} is {value.type} {value.shape}; {right}")
        initial = wish.initial.get(name, 0)
        state.append({"name": name, "output": output, "dtype": _DTYPES[value.type], "shape": shape, "initial": initial})
    return state


def _open(graph: Path) -> Any:
    try:
        return open_session(graph)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{graph}: onnxruntime cannot load it: {reason}") from None


def random_inputs(game: Game, seed: int) -> list[Input]:
    """Give what a graph reads along a game of legal moves drawn at random."""
    rng, position, context = random.Random(seed), game.new_position(), [0] * len(game.context)
    inputs = [Input(game.vocabulary.start, game.seen(context, 0), position.cells())]
    while len(inputs) < _PLIES:
        legal = position.legal()
        candidates = range(len(game.vocabulary)) if legal is None else legal
        if not candidates:
            break
        move = rng.choice(candidates)
        position.play(move)
        inputs.append(Input(move, game.seen(context, position.player), position.cells()))
    return inputs


def walk(engine: Engine, games: Sequence[Sequence[Input]]) -> Iterator[tuple[Rows, list[bytes]]]:
    """Give the scores and the states of several games at each ply that all of them reach."""
    states = [engine.initial] * len(games)
    for inputs in zip(*games, strict=False):
        scores, states = engine.step(inputs, states)
        yield scores, states


def compare_alone_and_together(game: Game, engine: Engine) -> tuple[bool, float]:
    """Say whether games have the same bits alone and in company, and the largest |difference| of a score."""
    games = [random_inputs(game, seed) for seed in range(max(_COMPANY))]
    alone = [list(walk(engine, [inputs])) for inputs in games]
    same, largest = True, 0.0
    for size in _COMPANY:
        for ply, (scores, states) in enumerate(walk(engine, games[:size])):
            own = [alone[row][ply] for row in range(size)]
            expected = np.concatenate([scores for scores, _ in own])
            same &= scores.tobytes() == expected.tobytes() and states == [state for _, (state,) in own]
            largest = max(largest, float(np.abs(scores - expected).max()))
    return same, largest


def _describe(folder: Path, wish: Wish, state: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the manifest of a graph, but for what is measured."""
    return {
        "name": folder.parent.name,
        "version": folder.name,
        "game": dict(wish.game.describe()),
        "vocabulary": wish.game.vocabulary.names,
        "context": [one.name for one in wish.game.context],
        "state": state,
        "cell": wish.cell,
        "precision": wish.precision,
        "tools": {name: version(name) for name in ("onnx", "onnxruntime", "numpy")},
    }


def wrap(graph: Path, folder: Path, wish: Wish) -> Artifact:
    """Write ``<name>/<version>`` around a graph; ArtifactError, and nothing written, if it cannot be served."""
    if folder.exists():
        raise ArtifactError(f"{folder} is there already: give another version, so that running games keep theirs")
    about = _describe(folder, wish, read_state(graph, wish))
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        onnx.save(onnx.load(graph), part / GRAPH)  # in one file, whatever files its weights were in
        write_manifest(part, about)
        same, difference = compare_alone_and_together(wish.game, Engine(Artifact.load(part)))
        if not (same or difference < wish.tolerance):
            wrong = f"a game alone and among others differs by up to {difference:.2g} in a score"
            raise ArtifactError(f"{graph}: {wrong}; rows must not see each other, or --tolerance has to allow it")
        write_manifest(part, about | {"parity": {"same_bits": same, "alone_and_together": difference}})
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Artifact.load(folder)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _byte(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    if not value.isdecimal() or int(value) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER with a number from 0 to 255")
    return name, int(value)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.wrap", description="Make a graph of yours a served model.")
    parser.add_argument("--graph", type=Path, required=True, metavar="FILE", help="one step as ONNX")
    parser.add_argument("--game", default="tokens", help="tokens, chess, xiangqi, or a game of OpenSpiel (tokens)")
    parser.add_argument("--vocabulary", type=Path, metavar="FILE", help="of tokens: a name a line, by their ids from 0")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="artifacts/NAME/VERSION")
    parser.add_argument(
        "--state", type=_pair, nargs="+", default=[], metavar="IN=OUT", help="where states come out (NAME=NAME_after)"
    )
    parser.add_argument(
        "--initial", type=_byte, nargs="+", default=[], metavar="NAME=N", help="what all of a state begins with (0)"
    )
    parser.add_argument("--cell", default="unknown", help="what remembers, for people: gru, lstm, … (unknown)")
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32", help="for people (fp32)")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, metavar="X", help="how far company may move a score (0: the same bits)"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Wrap; what a person can put right ends in a message."""
    given = _arguments(words)
    try:
        names = given.vocabulary.read_text(encoding="utf-8").splitlines() if given.vocabulary else []
        game = load_game({"name": given.game}, names)
        wish = Wish(game, dict(given.state), dict(given.initial), given.cell, given.precision, given.tolerance)
        artifact = wrap(given.graph, given.out, wish)
    except (ArtifactError, OSError, ValueError) as error:
        sys.exit(f"wrap: {error}")
    about = {"artifact": str(artifact.folder), "moves": len(artifact.game.vocabulary)}
    print(json.dumps(about | {"state_bytes": artifact.record.itemsize, **artifact.manifest.parity}))


if __name__ == "__main__":
    main()
