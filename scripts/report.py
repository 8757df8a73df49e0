"""Run ``python -m scripts.report games.pgn``: reads games and writes one HTML page of what a model expected of them.

It has each game's surprisal curve, the players' profiles, the calibration, and the most surprising moves with boards.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from model.artifact import Artifact, ArtifactError, version_key
from model.evaluation import score
from model.evaluation.page import Story, write_page
from model.evaluation.profiles import profile_players
from model.evaluation.readings import most_surprising, read_game
from model.evaluation.recorded import Recorded, read_games
from model.evaluation.report import describe
from model.runner import StepRunner
from scripts.arguments import count, day


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.report", description="Tell of games in one HTML page.")
    parser.add_argument("games", type=Path, nargs="+", metavar="FILE", help=".pgn, .jsonl or .wtb, also compressed")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("artifacts/chess"),
        metavar="FOLDER",
        help="a model's folder, or that of its versions, of which the newest is taken (artifacts/chess)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (beside the games, ending in .html)")
    parser.add_argument("--title", help="of the page (the names of the files)")
    parser.add_argument("--limit", type=count, default=100, metavar="N", help="games, evenly spread over all (100)")
    parser.add_argument("--surprises", type=count, default=12, metavar="N", help="most surprising moves to show (12)")
    parser.add_argument("--since", type=day, default="", metavar="DAY", help="read games of this day and later")
    parser.add_argument("--until", type=day, default="", metavar="DAY", help="read games before this day")
    arguments = parser.parse_args(words)
    for path in arguments.games:
        if not path.is_file():
            parser.error(f"{path} is not a file")
    first = arguments.games[0]
    arguments.out = arguments.out or first.with_name(first.name.split(".")[0] + ".html")
    arguments.title = arguments.title or ", ".join(path.name for path in arguments.games)
    return arguments


def _load(folder: Path) -> Artifact:
    """Load a version of a model, or the newest of its versions."""
    versions = [path.parent for path in folder.glob("*/manifest.json")]
    return Artifact.load(max(versions, key=lambda path: version_key(path.name)) if versions else folder)


def _tell(artifact: Artifact, recorded: Recorded, title: str, surprises: int) -> Story:
    game, packed, games = artifact.game, recorded.packed, recorded.games
    walk = partial(StepRunner(artifact.graph, artifact.manifest.state).walk, game)
    scores = score(game, packed, games, walk(packed, games))
    found = describe(scores, {})
    told = tqdm(games.tolist(), "games", unit=" games", leave=False)
    readings = {number: read_game(game, packed, scores, number) for number in told}
    return Story(
        title=title,
        model=f"{artifact.manifest.name}/{artifact.manifest.version}",
        players=recorded.players,
        figures=found["figures"]["all"],
        calibration=found["calibration"],
        profiles=profile_players(game, recorded, scores, walk),
        surprises=most_surprising(game, packed, scores, surprises),
        games=readings,
    )


def main(words: list[str] | None = None) -> None:
    """Read, score, write the page; what a person can put right ends in a message."""
    arguments = _arguments(words)
    try:
        artifact = _load(arguments.model)
        recorded = read_games(artifact.game, arguments.games, arguments.since, arguments.until, arguments.limit)
        print(recorded.report, file=sys.stderr)
        page = write_page(_tell(artifact, recorded, arguments.title, arguments.surprises))
        arguments.out.write_text(page, encoding="utf-8")
        print(arguments.out)
    except (ArtifactError, OSError, ValueError) as error:
        sys.exit(f"report: {error}")


if __name__ == "__main__":
    main()
