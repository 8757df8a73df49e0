"""Run ``python -m scripts.rock_paper_scissors --games 20000 --out games.jsonl``, or with ``--floor games.jsonl``.

Reads nothing and gives records of rock, paper, scissors between players of habits; or reads such records and gives the
figures of the best predictor there is, in the table of ``scripts.evaluate``: what no model can go below.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model.dataset import Packed, Source, pack
from model.evaluation import score, summarise
from model.evaluation.figures import format_figures
from model.generators.bayes import Bayes
from model.generators.rock_paper_scissors import GAME, draw_games
from model.generators.writing import check_name, write_games
from model.runner import Step
from scripts.arguments import count, number


def _watched(packed: Packed) -> Iterator[Step]:
    with tqdm(total=len(packed.tokens), desc="predicting", unit=" rounds", unit_scale=True) as progress:
        for step in Bayes().walk(packed, np.arange(len(packed))):
            yield step
            progress.update(len(step.games))


def floor(path: Path) -> str:
    """Give the table of the best predictor's figures on the games of a file; ValueError if it holds none."""
    packed, report = pack(GAME, [Source(path)])
    print(report, file=sys.stderr)
    return format_figures(summarise(score(GAME, packed, np.arange(len(packed)), _watched(packed))))


def main(words: list[str] | None = None) -> None:
    """Write games or print the floor; what a person can put right ends in a message."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.rock_paper_scissors", description="Make games of rock, paper, scissors."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="FILE", help="where the records go: a .jsonl")
    what.add_argument("--floor", type=Path, metavar="FILE", help="say how well these records can be predicted")
    parser.add_argument("--games", type=count, default=1000, metavar="N", help="(1000)")
    parser.add_argument("--seed", type=number, default=0, metavar="N", help="another seed, other games (0)")
    arguments = parser.parse_args(words)
    try:
        if arguments.floor:
            print(floor(arguments.floor))
            return
        out = check_name(arguments.out)
        rounds = write_games(out, draw_games(arguments.games, arguments.seed), arguments.games)
    except (OSError, ValueError) as error:
        sys.exit(f"rock_paper_scissors: {error}")
    print(f"{arguments.games:,} games, {rounds:,} rounds in {out}")


if __name__ == "__main__":
    main()
