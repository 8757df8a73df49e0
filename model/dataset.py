"""Reads game records and gives packed arrays, replayed by the rules, in batches of similar length."""

import json
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.games import Game, IllegalMove, encode_context, load_game
from model.games.records import Record, read_records

_CHUNK = 500
_PROBLEMS_KEPT = 20


@dataclass(frozen=True)
class Source:
    """A file of records and which of its games to take: one in ``every``, dated in [``since``, ``until``)."""

    path: Path
    every: int = 1
    since: str = ""
    until: str = ""

    def takes(self, record: Record) -> bool:
        """Say whether a record is wanted; a game without a date is older than any."""
        date = record.date or ""
        return record.number % self.every == 0 and date >= self.since and (not self.until or date < self.until)


@dataclass
class Packed:
    """Games as arrays. Game ``g`` holds the plies ``offsets[g]:offsets[g + 1]``.

    tokens:  int32 [plies]         the move played at each ply
    players: uint8 [plies]         who played it
    cells:   uint8 [plies, cells]  the board it was played on, as that player sees it
    context: uint8 [games, fields] ids of the context fields
    offsets: int64 [games + 1]
    """

    tokens: npt.NDArray[np.int32]
    players: npt.NDArray[np.uint8]
    cells: npt.NDArray[np.uint8]
    context: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Give the number of games."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The plies of each game."""
        lengths: npt.NDArray[np.int64] = np.diff(self.offsets)
        return lengths

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` file per array."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> "Packed":
        """Map what ``save`` wrote; the boards stay on disk until they are read."""
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__})


@dataclass
class Report:
    """What packing took and what it left out."""

    games: int = 0
    plies: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)

    def skip(self, source: Source, number: int, problem: str) -> None:
        """Count a bad game; the first few are named."""
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(f"{source.path.name} game {number}: {problem}")

    def __str__(self) -> str:
        """Say it in lines for people."""
        lines = [f"{self.games:,} games, {self.plies:,} plies; {self.skipped:,} bad games skipped", *self.problems]
        return "\n  ".join(lines)


def encode(game: Game, record: Record) -> tuple[list[int], list[int], bytes, list[int]]:
    """Replay one game: ids, players, boards before each move, context ids. ValueError says what is wrong with it."""
    if record.problem is not None:
        raise ValueError(record.problem)
    if not record.moves:
        raise ValueError("it has no moves")
    context = encode_context(game.context, record.context)
    position = game.new_position()
    tokens, players, boards = list[int](), list[int](), list[bytes]()
    for index, move in enumerate(record.moves):
        try:
            move_id = position.find(move)
        except IllegalMove as error:
            raise ValueError(f"move {index}: {error}") from None
        tokens.append(move_id)
        players.append(position.player)
        boards.append(position.cells())
        position.play(move_id)
    return tokens, players, b"".join(boards), context


def _encode_chunk(job: tuple[dict[str, Any], Sequence[str], list[Record]]) -> list[Any]:
    description, vocabulary, records = job
    game = load_game(description, vocabulary)
    results: list[Any] = []
    for record in records:
        try:
            results.append(encode(game, record))
        except ValueError as error:
            results.append(str(error))
    return results


def _chunks(sources: Iterable[Source]) -> Iterator[tuple[Source, list[Record]]]:
    for source in sources:
        records = (record for record in read_records(source.path) if source.takes(record))
        while chunk := list(islice(records, _CHUNK)):
            yield source, chunk


def pack(game: Game, sources: Sequence[Source], workers: int = 1) -> tuple[Packed, Report]:
    """Replay the games of ``sources`` on ``workers`` processes; a bad game is skipped, counted and named."""
    report, games = Report(), list[Any]()
    described = dict(game.describe()), game.vocabulary.names
    pending: list[tuple[Source, list[Record]]] = []

    def jobs() -> Iterator[tuple[dict[str, Any], Sequence[str], list[Record]]]:
        for source, chunk in _chunks(sources):
            pending.append((source, chunk))
            yield *described, chunk

    with multiprocessing.get_context("spawn").Pool(workers) as pool, tqdm(unit=" games", desc="packing") as progress:
        for results in pool.imap(_encode_chunk, jobs()):
            source, chunk = pending.pop(0)
            for record, result in zip(chunk, results, strict=True):
                if isinstance(result, str):
                    report.skip(source, record.number, result)
                else:
                    games.append(result)
            progress.update(len(chunk))
    if not games:
        raise ValueError(f"no game could be read: {report}")
    lengths = [len(tokens) for tokens, _, _, _ in games]
    report.games, report.plies = len(games), sum(lengths)
    return Packed(
        tokens=np.concatenate([np.array(tokens, np.int32) for tokens, _, _, _ in games]),
        players=np.concatenate([np.array(players, np.uint8) for _, players, _, _ in games]),
        cells=np.frombuffer(b"".join(boards for _, _, boards, _ in games), np.uint8).reshape(report.plies, -1),
        context=np.array([context for _, _, _, context in games], np.uint8).reshape(len(games), -1),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    ), report


@dataclass(frozen=True)
class Batch:
    """B games side by side, N plies in all; ``mask`` lays the plies out, one game a row, in order from the left.

    tokens: int64 [N]          what the network reads: the start, then the move before
    targets: int64 [N]         the move played
    seen: int64 [N, fields]    context and side, as the player to move sees them
    cells: uint8 [N, cells]    the board, as the player to move sees it
    mask: bool [B, T]          N of them True
    """

    tokens: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


def collate(
    game: Game, packed: Packed, games: npt.NDArray[np.int64], plies: int, context: npt.NDArray[np.uint8]
) -> Batch:
    """Put ``games`` side by side, each cut after ``plies``; ``context`` holds their ids, in the same order."""
    starts = packed.offsets[games]
    lengths = np.minimum(packed.lengths[games], plies)
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    row, ply = np.nonzero(mask)
    index = starts[row] + ply
    targets = packed.tokens[index].astype(np.int64)
    tokens = np.where(ply == 0, game.vocabulary.start, np.roll(targets, 1))
    sides = np.array([[game.seen(ids, player) for player in (0, 1)] for ids in context.tolist()], np.int64)
    return Batch(tokens, targets, sides[row, packed.players[index]], packed.cells[index], mask)


def bucket(
    lengths: npt.NDArray[np.int64], tokens: int, plies: int, seed: int, pool: int = 64
) -> list[npt.NDArray[np.int64]]:
    """Group games of similar length into batches of about ``tokens`` plies, in an order drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    cut = np.minimum(lengths, plies)
    pool_games = max(1, round(pool * tokens / float(cut.mean())))
    batches: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(order), pool_games):
        games = order[first : first + pool_games]
        games = games[np.argsort(cut[games], kind="stable")]
        edges = np.flatnonzero(np.diff(np.cumsum(cut[games]) // tokens)) + 1
        batches += np.split(games, edges)
    return [batches[index] for index in rng.permutation(len(batches))]


def describe_sources(sources: Sequence[Source], report: Report) -> dict[str, Any]:
    """Give what a manifest says of its data."""
    described = [
        {key: str(getattr(s, key)) for key in ("every", "since", "until")} | {"file": s.path.name} for s in sources
    ]
    return {"sources": described, "games": report.games, "plies": report.plies, "skipped": report.skipped}


def save_description(folder: Path, description: dict[str, Any]) -> None:
    """Write ``data.json`` beside the arrays."""
    (folder / "data.json").write_text(json.dumps(description, indent=2))
