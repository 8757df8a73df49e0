"""Run ``python -m scripts.profile --model artifacts/chess/3 --games FILE.pgn``.

Reads a model and game records with the players' names, and says of each player how surprising the moves were, how
surprising the model expects moves of such players to be, and at which rating it would have foreseen them best.
"""

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model.artifact import Artifact, ArtifactError
from model.evaluation import score
from model.evaluation.profile_plots import draw_profiles
from model.evaluation.profiles import format_profiles, profile_players
from model.evaluation.recorded import Recorded, read_games
from model.runner import StepRunner
from scripts.arguments import count, day

_DRAWN = 12


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.profile", description="Profile the players of a PGN.")
    parser.add_argument("--model", type=Path, required=True, help="a model's folder, such as artifacts/chess/3")
    parser.add_argument("--games", type=Path, nargs="+", required=True, metavar="FILE", help=".pgn, or .pgn.zst")
    parser.add_argument("--since", type=day, default="", metavar="DAY", help="read games of this day and later")
    parser.add_argument("--until", type=day, default="", metavar="DAY", help="read games before this day")
    parser.add_argument("--player", nargs="+", default=[], metavar="NAME", help="profile only these, by their names")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes that replay games (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument(
        "--plots", type=Path, metavar="FOLDER", help=f"draw PNG pictures there, of the {_DRAWN} with the most moves"
    )
    arguments = parser.parse_args(words)
    for path in arguments.games:
        if not path.is_file():
            parser.error(f"{path} is not a file")
    return arguments


def _games(artifact: Artifact, arguments: argparse.Namespace) -> Recorded:
    """Give the games of the players asked for, or of all; ValueError if there are none."""
    recorded = read_games(artifact.game, arguments.games, arguments.since, arguments.until, workers=arguments.workers)
    print(recorded.report, file=sys.stderr)
    names = {name for pair in recorded.players for name in pair if name}
    if not names:
        raise ValueError("no game names its players: PGN has them in the tags White and Black")
    if unknown := set(arguments.player) - names:
        raise ValueError(f"{sorted(unknown)[0]!r} plays in none of these games")
    names = set(arguments.player) or names
    chosen = [number for number, pair in enumerate(recorded.players) if names & set(pair)]
    return replace(recorded, games=np.array(chosen))


def _profile(artifact: Artifact, recorded: Recorded, names: set[str]) -> dict[str, dict[str, Any]]:
    """Give the profile of every player, or of those among ``names``, by name."""
    game, runner = artifact.game, StepRunner(artifact.graph, artifact.manifest.state)
    walk = partial(runner.walk, game)
    scores = score(game, recorded.packed, recorded.games, walk(recorded.packed, recorded.games))
    return profile_players(game, recorded, scores, walk, names)


def main(words: list[str] | None = None) -> None:
    """Profile, print, and write what was asked for; what a person can put right ends in a message."""
    arguments = _arguments(words)
    try:
        artifact = Artifact.load(arguments.model)
        profiles = _profile(artifact, _games(artifact, arguments), set(arguments.player))
        table = format_profiles(profiles)
        print(table)
        if arguments.table:
            arguments.table.write_text(table + "\n", encoding="utf-8")
        if arguments.json:
            arguments.json.write_text(json.dumps(profiles, indent=1) + "\n", encoding="utf-8")
        if arguments.plots:
            most = sorted(profiles, key=lambda name: profiles[name]["plies"], reverse=True)[:_DRAWN]
            draw_profiles({name: profiles[name] for name in most}, arguments.plots)
    except (ArtifactError, OSError, ValueError) as error:
        sys.exit(f"profile: {error}")


if __name__ == "__main__":
    main()
