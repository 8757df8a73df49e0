"""Run ``python -m scripts.evaluate --model artifacts/chess/3 --games FILE.pgn.zst --since 2022-11-10``.

Reads a model and game records and gives its figures as tables, JSON and plots, next to an n-gram baseline if asked.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model.artifact import Artifact, ArtifactError, keep_figures
from model.dataset import Packed
from model.evaluation import Scores, score
from model.evaluation.plots import draw_report
from model.evaluation.ratings import compare_ratings
from model.evaluation.recorded import load_packed, read_games
from model.evaluation.report import describe, format_report, more_groups
from model.games import Game
from model.ngram import NGram
from model.runner import Step, StepRunner
from scripts.arguments import count, day


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.evaluate", description="Score a model on recorded games.")
    parser.add_argument("--model", type=Path, required=True, help="a model's folder, such as artifacts/chess/3")
    parser.add_argument("--games", type=Path, nargs="+", required=True, metavar="FILE", help=".pgn, .jsonl or .wtb")
    parser.add_argument("--since", type=day, default="", metavar="DAY", help="score games of this day and later")
    parser.add_argument("--until", type=day, default="", metavar="DAY", help="score games before this day")
    parser.add_argument("--distinct", action="store_true", help="take games with the same moves once")
    parser.add_argument("--limit", type=count, metavar="N", help="score N games, evenly spread over those there are")
    parser.add_argument(
        "--train",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="count an n-gram baseline, and positions seen, on these records, or on runs/NAME/games of a training run",
    )
    parser.add_argument("--train-until", type=day, default="", metavar="DAY", help="… on games before (else: --since)")
    parser.add_argument("--forget", action="store_true", help="also score it with no memory of the moves before")
    parser.add_argument("--ratings", action="store_true", help="also score it with ratings that are not the right ones")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes that replay games (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--keep", action="store_true", help="write everything into the model's manifest")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw PNG pictures there")
    arguments = parser.parse_args(words)
    arguments.train_until = arguments.train_until or arguments.since
    packed = _is_packed(arguments.train)
    if arguments.train and not packed and not arguments.train_until:
        parser.error("--train needs --train-until or --since: a baseline must not count the games it is scored on")
    for path in (*arguments.games, *(() if packed else arguments.train)):
        if not path.is_file():
            parser.error(f"{path} is not a file")
    return arguments


def _is_packed(paths: list[Path]) -> bool:
    return len(paths) == 1 and (paths[0] / "data.json").is_file()


def _watch(steps: Iterable[Step], plies: int, name: str) -> Iterator[Step]:
    with tqdm(total=plies, desc=name, unit=" plies", unit_scale=True) as progress:
        for step in steps:
            yield step
            progress.update(len(step.games))


def _training(game: Game, arguments: argparse.Namespace) -> tuple[Packed | None, dict[str, Any]]:
    """Give the games that the baseline counts, if any, and what a manifest says of them."""
    if not arguments.train:
        return None, {}
    if _is_packed(arguments.train):
        return load_packed(game, arguments.train[0])
    until, workers, distinct = arguments.train_until, arguments.workers, arguments.distinct
    recorded = read_games(game, arguments.train, "", until, workers=workers, distinct=distinct)
    print(recorded.report, file=sys.stderr)
    return recorded.packed, recorded.about


def _evaluate(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Give what is known of each model scored, the baseline last, with its figures."""
    artifact = Artifact.load(arguments.model)
    game, manifest = artifact.game, artifact.manifest
    since, until, limit = arguments.since, arguments.until, arguments.limit
    recorded = read_games(game, arguments.games, since, until, limit, arguments.workers, arguments.distinct)
    print(recorded.report, file=sys.stderr)
    packed, games = recorded.packed, recorded.games
    training, trained_on = _training(game, arguments)
    groups, common = more_groups(recorded, training), {"scored_on": recorded.about}
    name = f"{manifest.name}/{manifest.version}"

    def figures(steps: Iterable[Step], label: str) -> dict[str, Any]:
        scores: Scores = score(game, packed, games, _watch(steps, len(recorded.rows), label))
        return common | describe(scores, groups)

    runner = StepRunner(artifact.graph, manifest.state)
    precision = {"precision": manifest.precision}
    results = {name: precision | figures(runner.walk(game, packed, games), name)}
    if arguments.ratings:
        results[name]["ratings"] = compare_ratings(game, packed, games, partial(runner.walk, game))
    if arguments.forget:
        label, forgetful = f"{name} without memory", StepRunner(artifact.graph, manifest.state, forget=True)
        results[label] = precision | figures(forgetful.walk(game, packed, games), label)
    if training is not None:
        baseline = NGram(game, training, range(len(training)))
        results["n-gram"] = {"trained_on": trained_on} | figures(baseline.walk(packed, games), "n-gram")
    return results


def main(words: list[str] | None = None) -> None:
    """Score, print, and write what was asked for; what a person can put right ends in a message."""
    arguments = _arguments(words)
    try:
        results = _evaluate(arguments)
        report = format_report(results)
        print(report)
        if arguments.table:
            arguments.table.write_text(report + "\n", encoding="utf-8")
        if arguments.keep:
            keep_figures(arguments.model, results)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if arguments.plots:
            draw_report(results, arguments.plots)
    except (ArtifactError, OSError, ValueError) as error:
        sys.exit(f"evaluate: {error}")


if __name__ == "__main__":
    main()
