"""Run ``python -m scripts.selfplay --game connect_four --games 30000 --out connect-four.jsonl``.

Reads the name of a game of OpenSpiel and gives records of games that its bots played, to train on without data.
"""

import argparse
import sys
from pathlib import Path

from model.generators.selfplay import SelfPlay, play_games
from model.generators.writing import check_name, write_games
from scripts.arguments import count, number


def _strengths(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers like 16,64,256")
    return tuple(int(word) for word in words)


def main(words: list[str] | None = None) -> None:
    """Play and write; what a person can put right ends in a message."""
    parser = argparse.ArgumentParser(prog="python -m scripts.selfplay", description="Make games of a game's own bots.")
    parser.add_argument("--game", required=True, help="chess, or the name of an OpenSpiel game, such as connect_four")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the records go: a .jsonl")
    parser.add_argument("--games", type=count, default=1000, metavar="N", help="(1000)")
    parser.add_argument(
        "--simulations",
        type=_strengths,
        default=SelfPlay.strengths,
        metavar="N,N",
        help="strengths that each player's is drawn from; 0 plays any move (16,64,256)",
    )
    parser.add_argument(
        "--opening", type=number, default=SelfPlay.opening, metavar="N", help="up to N first moves are any move (4)"
    )
    parser.add_argument("--seed", type=number, default=0, metavar="N", help="another seed, other games (0)")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes; the games are the same (1)")
    arguments = parser.parse_args(words)
    try:
        out = check_name(arguments.out)
        selfplay = SelfPlay(arguments.game, arguments.simulations, arguments.opening, arguments.seed)
        moves = write_games(out, play_games(selfplay, arguments.games, arguments.workers), arguments.games)
    except (OSError, ValueError) as error:
        sys.exit(f"selfplay: {error}")
    print(f"{arguments.games:,} games, {moves:,} plies in {out}")


if __name__ == "__main__":
    main()
