"""Reads games as lists of moves and gives a file of records, one game a line, whole or not there."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm


def check_name(path: Path) -> Path:
    """Give ``path`` back; ValueError unless it ends as records of JSON lines do."""
    if path.suffix != ".jsonl":
        raise ValueError(f"{path.name}: records are written as .jsonl")
    return path


def write_games(path: Path, games: Iterable[Sequence[str]], count: int) -> int:
    """Write ``count`` games, with a progress bar; give the number of their moves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, moves = path.with_name(f"{path.name}.part"), 0
    with part.open("w", encoding="utf-8") as file:
        for game in tqdm(games, total=count, desc=path.name, unit=" games"):
            file.write(json.dumps({"moves": list(game)}) + "\n")
            moves += len(game)
    os.replace(part, path)
    return moves
