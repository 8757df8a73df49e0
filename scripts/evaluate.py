"""Run ``python -m scripts.evaluate --model artifacts/chess/1 --games FILE.pgn.zst --since 2022-11-10``.

Reads a model and game records and gives its figures as a table (and as JSON), next to an n-gram baseline if asked.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.artifact import Artifact, ArtifactError, keep_figures
from model.dataset import Packed, Report, Source, describe_sources, pack
from model.evaluation import format_table, score, summarise
from model.games import Game
from model.games.records import read_records
from model.ngram import NGram
from model.runner import Step, StepRunner


def _day(text: str) -> str:
    """Check a day; none at all leaves that end open."""
    try:
        return text and date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day like 2022-11-10") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.evaluate", description="Score a model on recorded games.")
    parser.add_argument("--model", type=Path, required=True, help="a model's folder, such as artifacts/chess/1")
    parser.add_argument("--games", type=Path, nargs="+", required=True, metavar="FILE", help=".pgn or .jsonl, or .zst")
    parser.add_argument("--since", type=_day, default="", metavar="DAY", help="score games of this day and later")
    parser.add_argument("--until", type=_day, default="", metavar="DAY", help="score games before this day")
    parser.add_argument("--limit", type=_count, metavar="N", help="score N games, evenly spread over those there are")
    parser.add_argument("--train", type=Path, nargs="+", default=[], metavar="FILE", help="count an n-gram baseline")
    parser.add_argument("--train-until", type=_day, default="", metavar="DAY", help="… on games before (else: --since)")
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that replay games (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--keep", action="store_true", help="write the figures into the model's manifest")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there")
    arguments = parser.parse_args(words)
    arguments.train_until = arguments.train_until or arguments.since
    if arguments.train and not arguments.train_until:
        parser.error("--train needs --train-until or --since: a baseline must not count the games it is scored on")
    for path in (*arguments.games, *arguments.train):
        if not path.is_file():
            parser.error(f"{path} is not a file")
    return arguments


def _every(sources: list[Source], limit: int) -> int:
    """Give the spacing that leaves two to four times ``limit`` games, so that not every game has to be replayed."""
    records = ((source, record) for source in sources for record in read_records(source.path))
    wanted: int = sum(source.takes(record) for source, record in tqdm(records, desc="counting", unit=" games"))
    return max(1, wanted // (2 * limit))


def _pack(game: Game, paths: list[Path], since: str, until: str, limit: int | None, workers: int) -> Any:
    sources = [Source(path, since=since, until=until) for path in paths]
    if limit is not None:
        every = _every(sources, limit)
        sources = [Source(path, every, since, until) for path in paths]
    try:
        packed, report = pack(game, sources, workers)
    except ValueError as error:
        names = ", ".join(path.name for path in paths)
        raise ValueError(f"{names}: no games from {since or 'the first'} to {until or 'the last'}: {error}") from None
    print(report, file=sys.stderr)
    return packed, sources, report


def _spread(games: int, limit: int | None) -> npt.NDArray[np.int64]:
    if limit is None or limit >= games:
        return np.arange(games)
    return np.linspace(0, games - 1, limit).round().astype(np.int64)


def _watch(steps: Iterable[Step], plies: int, name: str) -> Iterator[Step]:
    with tqdm(total=plies, desc=name, unit=" plies", unit_scale=True) as progress:
        for step in steps:
            yield step
            progress.update(len(step.games))


def _figures(game: Game, packed: Packed, games: npt.NDArray[np.int64], steps: Iterable[Step], name: str) -> Any:
    watched = _watch(steps, int(packed.lengths[games].sum()), name)
    return summarise(score(game, packed, games, watched))


def _evaluate(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Give what is known of each model scored, the baseline last, with its figures."""
    artifact = Artifact.load(arguments.model)
    game, manifest = artifact.game, artifact.manifest
    packed, sources, report = _pack(
        game, arguments.games, arguments.since, arguments.until, arguments.limit, arguments.workers
    )
    games = _spread(len(packed), arguments.limit)
    scored = Report(len(games), int(packed.lengths[games].sum()), report.skipped)
    common = {"scored_on": describe_sources(sources, scored)}
    name = f"{manifest.name}/{manifest.version}"
    steps = StepRunner(artifact.graph, manifest.state).walk(game, packed, games)
    results = {name: common | {"precision": manifest.precision, "figures": _figures(game, packed, games, steps, name)}}
    if arguments.train:
        seen, train, counted = _pack(game, arguments.train, "", arguments.train_until, None, arguments.workers)
        steps = NGram(game, seen, range(len(seen))).walk(packed, games)
        trained_on = {"trained_on": describe_sources(train, counted)}
        results["n-gram"] = common | trained_on | {"figures": _figures(game, packed, games, steps, "n-gram")}
    return results


def main(words: list[str] | None = None) -> None:
    """Score, print, and write what was asked for; what a person can put right ends in a message."""
    arguments = _arguments(words)
    try:
        results = _evaluate(arguments)
        table = "\n\n".join(f"### {name}\n\n{format_table(result['figures'])}" for name, result in results.items())
        print(table)
        if arguments.table:
            arguments.table.write_text(table + "\n", encoding="utf-8")
        if arguments.keep:
            keep_figures(arguments.model, results)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except (ArtifactError, OSError, ValueError) as error:
        sys.exit(f"evaluate: {error}")


if __name__ == "__main__":
    main()
