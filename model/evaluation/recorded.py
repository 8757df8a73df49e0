"""Reads files of game records and gives packed games, with what packing leaves out: names and clocks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.dataset import Packed, Report, Source, describe_sources, pack
from model.games import Game
from model.games.records import Record, read_records

Seconds = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recorded:
    """Games as they were recorded.

    packed: the games
    games: int64 [G], those of them that were asked for
    players: the names of each game's players, "" where they are not known
    seconds: for each game, float32 [plies], what the mover's clock showed before the move, NaN where nothing is known
    report: what was taken and what was left out
    about: what a manifest says of the games asked for
    """

    packed: Packed
    games: npt.NDArray[np.int64]
    players: list[tuple[str, str]]
    seconds: list[Seconds]
    report: Report
    about: dict[str, Any]

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The places in ``packed`` of every ply of ``games``, in the order in which `score` gives them."""
        offsets = self.packed.offsets
        return np.concatenate([np.arange(offsets[game], offsets[game + 1]) for game in self.games])


def seconds_left(record: Record) -> Seconds:
    """Give what the mover's clock showed before each move: what it showed after the player's move before."""
    after = np.array([np.nan if clock is None else clock for clock in record.clocks], np.float32)
    left = np.full(len(record.moves), np.nan, np.float32)
    left[2:] = after[:-2] if len(after) else np.nan
    return left


def read_games(
    game: Game,
    paths: Sequence[Path],
    since: str,
    until: str,
    limit: int | None = None,
    workers: int = 1,
    distinct: bool = False,
) -> Recorded:
    """Replay the games from ``since`` to before ``until``, or ``limit`` of them, evenly spread over those there are.

    Bad games are skipped; the report names them. ``distinct`` takes games with the same moves once. ValueError if no
    game is left.
    """
    sources = [Source(path, since=since, until=until) for path in paths]
    if limit is not None:
        every = _every(sources, limit)
        sources = [Source(path, every, since, until) for path in paths]
    players, seconds = list[tuple[str, str]](), list[Seconds]()

    def keep(record: Record) -> None:
        players.append(record.players)
        seconds.append(seconds_left(record))

    try:
        packed, report = pack(game, sources, workers, keep, distinct)
    except ValueError as error:
        names = ", ".join(path.name for path in paths)
        raise ValueError(f"{names}: no games from {since or 'the first'} to {until or 'the last'}: {error}") from None
    games = np.arange(len(packed))
    if limit is not None and limit < len(packed):
        games = np.linspace(0, len(packed) - 1, limit).round().astype(np.int64)
    chosen = Report(len(games), int(packed.lengths[games].sum()), report.skipped, report.repeated)
    return Recorded(packed, games, players, seconds, report, describe_sources(sources, chosen))


def load_packed(game: Game, folder: Path) -> tuple[Packed, dict[str, Any]]:
    """Give the games that a training run keeps packed, and what a manifest says of them.

    ValueError if they are another game's.
    """
    packed, cells = Packed.load(folder), game.grid.cells if game.grid else 0
    if packed.cells.shape[1] != cells or packed.context.shape[1] != len(game.context):
        raise ValueError(f"{folder} holds another game than {game.name}")
    return packed, json.loads((folder / "data.json").read_text(encoding="utf-8"))


def _every(sources: Sequence[Source], limit: int) -> int:
    """Give the spacing that leaves two to four times ``limit`` games, so that not every game has to be replayed."""
    records = ((source, record) for source in sources for record in read_records(source.path))
    wanted: int = sum(source.takes(record) for source, record in tqdm(records, desc="counting", unit=" games"))
    return max(1, wanted // (2 * limit))
