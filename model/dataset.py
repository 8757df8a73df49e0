"""Reads game records and gives packed arrays, replayed by the rules, in batches of similar length."""

import json
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.games import Game, IllegalMove, encode_context, load_game
from model.games.records import Record, first_of_each, read_records

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

    def select(self, games: npt.NDArray[np.int64]) -> "Packed":
        """Give some of the games, in the order asked for."""
        lengths = self.lengths[games]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        plies = np.repeat(self.offsets[games] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Packed(self.tokens[plies], self.players[plies], self.cells[plies], self.context[games], offsets)

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
    repeated: int = 0
    problems: list[str] = field(default_factory=list)

    def skip(self, source: Source, number: int, problem: str) -> None:
        """Count a bad game; the first few are named."""
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(f"{source.path.name} game {number}: {problem}")

    def __str__(self) -> str:
        """Say it in lines for people."""
        left_out = f"{self.skipped:,} bad games skipped" + (f", {self.repeated:,} repeated" if self.repeated else "")
        return "\n  ".join([f"{self.games:,} games, {self.plies:,} plies; {left_out}", *self.problems])


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


@dataclass(frozen=True)
class _Chunk:
    """Some records of one file, which one process replays at a time."""

    description: dict[str, Any]
    vocabulary: tuple[str, ...]
    source: Source
    records: list[Record]


def _chunks(game: Game, sources: Iterable[Source], seen: Counter[int] | None) -> Iterator[_Chunk]:
    description = dict(game.describe())
    for source in sources:
        records: Iterator[Record] = filter(source.takes, read_records(source.path))
        if seen is not None:
            records = first_of_each(records, seen)
        while chunk := list(islice(records, _CHUNK)):
            yield _Chunk(description, game.vocabulary.names, source, chunk)


class _Arrays:
    """The arrays of `Packed` while they grow, as bytes: they never lie in memory twice, nor as numbers of Python."""

    def __init__(self) -> None:
        """Start with no games."""
        self.tokens, self.players, self.cells, self.context, self.lengths = (bytearray() for _ in range(5))

    def add(self, tokens: list[int], players: list[int], cells: bytes, context: list[int]) -> None:
        """Add a game as `encode` gave it."""
        self.tokens += np.array(tokens, np.int32).tobytes()
        self.players += bytes(players)
        self.cells += cells
        self.context += bytes(context)
        self.lengths += np.int64(len(tokens)).tobytes()

    def extend(self, other: "_Arrays") -> None:
        """Add the games of another process."""
        for name, array in vars(other).items():
            getattr(self, name).extend(array)

    def packed(self) -> Packed:
        """Give the games, without a copy."""
        lengths = np.frombuffer(self.lengths, np.int64)
        return Packed(
            tokens=np.frombuffer(self.tokens, np.int32),
            players=np.frombuffer(self.players, np.uint8),
            cells=np.frombuffer(self.cells, np.uint8).reshape(len(self.players), -1),
            context=np.frombuffer(self.context, np.uint8).reshape(len(lengths), -1),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
        )


def _replay(chunk: _Chunk) -> tuple[_Arrays, list[tuple[int, str]]]:
    """Give the games of a chunk, and the number and the problem of each that cannot be played."""
    game, arrays, problems = load_game(chunk.description, chunk.vocabulary), _Arrays(), list[tuple[int, str]]()
    for record in chunk.records:
        try:
            arrays.add(*encode(game, record))
        except ValueError as error:
            problems.append((record.number, str(error)))
    return arrays, problems


def _replay_all(chunks: Iterable[_Chunk], workers: int) -> Iterator[tuple[_Chunk, _Arrays, list[tuple[int, str]]]]:
    """Replay the chunks in their order, a few of them ahead, so that a file is never in memory as a whole."""
    if workers == 1:
        for chunk in chunks:
            yield chunk, *_replay(chunk)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        ahead = deque[tuple[_Chunk, AsyncResult[tuple[_Arrays, list[tuple[int, str]]]]]]()
        for chunk in chunks:
            ahead.append((chunk, pool.apply_async(_replay, (chunk,))))
            if len(ahead) > 2 * workers:
                done, result = ahead.popleft()
                yield done, *result.get()
        for done, result in ahead:
            yield done, *result.get()


def pack(
    game: Game,
    sources: Sequence[Source],
    workers: int = 1,
    taken: Callable[[Record], object] | None = None,
    distinct: bool = False,
) -> tuple[Packed, Report]:
    """Replay the games of ``sources`` on ``workers`` processes; a bad game is skipped, counted and named.

    ``taken`` is called with the record of every game that is packed, in their order. ``distinct`` leaves out games with
    the moves of one before. ValueError if no game is left.
    """
    report, arrays, seen = Report(), _Arrays(), Counter[int]() if distinct else None
    with tqdm(unit=" games", desc="packing") as progress:
        for chunk, replayed, problems in _replay_all(_chunks(game, sources, seen), workers):
            arrays.extend(replayed)
            for number, problem in problems:
                report.skip(chunk.source, number, problem)
            if taken is not None:
                bad = {number for number, _ in problems}
                for record in filter(lambda record: record.number not in bad, chunk.records):
                    taken(record)
            progress.update(len(chunk.records))
    if not arrays.lengths:
        raise ValueError(f"no game could be read: {report}")
    packed = arrays.packed()
    repeated = seen.total() - len(seen) if seen else 0
    report.games, report.plies, report.repeated = len(packed), len(packed.tokens), repeated
    return packed, report


def describe_sources(sources: Sequence[Source], report: Report | None = None) -> dict[str, Any]:
    """Give what a manifest says of its data: the sources, and what was taken of them."""
    described = [
        {key: str(getattr(s, key)) for key in ("every", "since", "until")} | {"file": s.path.name} for s in sources
    ]
    taken = {} if report is None else {key: getattr(report, key) for key in ("games", "plies", "skipped", "repeated")}
    return {"sources": described, **taken}


def save_description(folder: Path, description: dict[str, Any]) -> None:
    """Write ``data.json`` beside the arrays."""
    (folder / "data.json").write_text(json.dumps(description, indent=2))
