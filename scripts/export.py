"""Run ``python -m scripts.export --run runs/chess-3 --out artifacts/chess/3``.

Reads the best weights of a training run and gives an artifact, if graph and network agree on games held out from it.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from model.artifact import Artifact
from model.dataset import Packed
from model.export import ExportError, export
from model.games import load_game
from model.network import NextMove, Shape
from model.training import held_out_games

# Games on which graph and network are compared, scales are calibrated and precisions scored.
_GAMES = 200


def export_run(run: Path, out: Path, precision: str) -> Artifact:
    """Write ``out`` from the best weights of ``run``; ExportError if the graph is not the network."""
    settings = json.loads((run / "settings.json").read_text())
    game = load_game(settings["game"], settings["vocabulary"])
    network = NextMove(game, Shape(**settings["training"]["shape"]))
    best = torch.load(run / "best.pt", weights_only=True)
    network.load_state_dict(best["network"])
    packed = Packed.load(run / "games")
    held_out = held_out_games(len(packed), settings["training"]["held_out"], settings["training"]["seed"])
    origin = settings.get("from") or {"trained_plies": 0}
    data = settings["data"] | {"trained_plies": origin["trained_plies"] + best["progress"]["tokens"]}
    if teacher := settings.get("teacher"):
        data["teacher"] = teacher
    return export(out, game, network, packed.select(held_out[:_GAMES]), precision=precision, data=data)


def main(words: list[str] | None = None) -> None:
    """Export; what a person can put right ends in a message."""
    parser = argparse.ArgumentParser(prog="python -m scripts.export", description="Export a training run.")
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="the run's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="artifacts/NAME/VERSION")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="of the graph (int8)")
    arguments = parser.parse_args(words)
    try:
        artifact = export_run(arguments.run, arguments.out, arguments.precision)
    except (ExportError, OSError, ValueError) as error:
        sys.exit(f"export: {error}")
    print(json.dumps({"artifact": str(artifact.folder), "parity": artifact.manifest.parity}))


if __name__ == "__main__":
    main()
