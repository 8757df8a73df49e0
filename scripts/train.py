"""Run ``python -m scripts.train --game chess --games FILE.pgn.zst --until 2022-11-10 --out artifacts/chess/1``.

Reads game records and gives an artifact that the service serves. The same command takes up an interrupted run.
"""

import argparse
import json
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from model.artifact import WEIGHTS, Artifact, ArtifactError
from model.dataset import Source, describe_sources, pack, save_description
from model.export import ExportError
from model.games import Game, load_game
from model.games.records import read_records
from model.network import Shape
from model.run import Run, Settings
from model.vocabulary import Vocabulary
from model.workers import fit
from scripts.export import export_run


def _source(text: str) -> tuple[Path, int]:
    path, _, every = text.partition("@")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path} is not a file")
    if every and (not every.isdecimal() or int(every) < 1):
        raise argparse.ArgumentTypeError(f"{text}: FILE@3 takes one game in three")
    return Path(path), int(every or 1)


def _add_settings(parser: argparse._ActionsContainer, settings: type[Any]) -> None:
    """Make a flag of every setting, with its type and default."""
    for field in fields(settings):
        if field.default is MISSING:
            continue
        kind = argparse.BooleanOptionalAction if isinstance(field.default, bool) else None
        options: dict[str, Any] = {"action": kind} if kind else {"type": type(field.default), "metavar": "N"}
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", default=field.default, help=f"({field.default})", **options
        )


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.train", description="Train a model on recorded games.")
    parser.add_argument("--game", default="chess", help="chess, tokens, or the name of an OpenSpiel game (chess)")
    parser.add_argument(
        "--games", type=_source, nargs="+", required=True, metavar="FILE", help="FILE or FILE@N: 1 in N"
    )
    parser.add_argument("--since", default="", metavar="DAY", help="leave out games before this day or year")
    parser.add_argument("--until", default="", metavar="DAY", help="leave out games of this day and later")
    parser.add_argument("--distinct", action="store_true", help="take games with the same moves once")
    parser.add_argument("--terms", default="", help="whose the records are and what that allows, for the manifest")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="artifacts/NAME/VERSION")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="where the run is kept (runs/NAME-VERSION)")
    parser.add_argument("--from", dest="warm", type=Path, metavar="FOLDER", help="begin with this artifact's weights")
    parser.add_argument("--teacher", type=Path, metavar="FOLDER", help="learn from what this artifact expects, too")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="of the graph (int8)")
    for group, settings in (("training", Settings), ("network", Shape)):
        _add_settings(parser.add_argument_group(group), settings)
    arguments = parser.parse_args(words)
    arguments.run = arguments.run or Path("runs") / f"{arguments.out.parent.name}-{arguments.out.name}"
    return arguments


def _settings(arguments: argparse.Namespace) -> Settings:
    chosen: dict[str, Any] = {field.name: getattr(arguments, field.name, None) for field in fields(Settings)}
    shape = Shape(**{field.name: getattr(arguments, field.name) for field in fields(Shape)})
    if arguments.warm:
        shape = Shape(**Artifact.load(arguments.warm).manifest.network)
    return Settings(**chosen | {"shape": shape})


def _game(arguments: argparse.Namespace) -> Game:
    """Give the game; the vocabulary of plain tokens is that of the artifact begun with, else of the records."""
    if arguments.game != "tokens":
        return load_game({"name": arguments.game})
    if arguments.warm:
        return Artifact.load(arguments.warm).game
    seen = Vocabulary.of(record.moves for path, _ in arguments.games for record in read_records(path))
    return load_game({"name": "tokens"}, seen.names)


def _origin(artifact: Path | None) -> dict[str, Any] | None:
    """Say which artifact a run begins with or learns from, and on how many plies that was trained."""
    if artifact is None:
        return None
    manifest = Artifact.load(artifact).manifest
    trained = manifest.data.get("trained_plies", 0)
    return {"name": manifest.name, "version": manifest.version, "trained_plies": trained}


def _pack(game: Game, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Replay the games once; a run that is taken up finds them packed."""
    sources = [Source(path, every, arguments.since, arguments.until) for path, every in arguments.games]
    described = folder / "data.json"
    if described.exists():
        data: dict[str, Any] = json.loads(described.read_text())
        if data["sources"] != describe_sources(sources)["sources"]:
            raise ValueError(f"{folder} holds other games than these; choose another --run")
        return data
    packed, report = pack(game, sources, arguments.workers, distinct=arguments.distinct)
    print(report, file=sys.stderr)
    packed.save(folder)
    data = {"terms": arguments.terms} | describe_sources(sources, report)
    save_description(folder, data)
    return data


def main(words: list[str] | None = None) -> None:
    """Pack, train, export; what a person can put right ends in a message."""
    arguments = _arguments(words)
    try:
        settings, game = _settings(arguments), _game(arguments)
        run, games = Run(arguments.run), arguments.run / "games"
        data = _pack(game, arguments, games)
        vocabulary = game.vocabulary.names if game.name == "tokens" else ()
        origins = {"from": _origin(arguments.warm), "teacher": _origin(arguments.teacher)}
        about = {"game": dict(game.describe()), "vocabulary": vocabulary, "data": data}
        run.write_settings(settings, about | origins)
        seconds = fit(game, games, settings, run, arguments.warm and arguments.warm / WEIGHTS, arguments.teacher)
        print(f"trained for {seconds / 60:.1f} minutes; the run is kept in {arguments.run}", file=sys.stderr)
        artifact = export_run(arguments.run, arguments.out, arguments.precision)
        print(json.dumps({"artifact": str(artifact.folder), "parity": artifact.manifest.parity}))
    except (ArtifactError, ExportError, OSError, ValueError) as error:
        sys.exit(f"train: {error}")


if __name__ == "__main__":
    main()
