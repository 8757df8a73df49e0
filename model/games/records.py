"""Reads files of game records (PGN, JSON lines; plain or .zst) and gives one record a game, never a whole file."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

_TAG = re.compile(r'\[(\w+)\s+"((?:[^"\\]|\\.)*)"\]')
_TOKEN = re.compile(r"\{([^}]*)\}?|;[^\n]*|([()])|\$\d+|\d+\.+(?=\D|$)|([^\s(){};$]+)")
_CLOCK = re.compile(r"\[%clk (\d+):(\d+):(\d+(?:\.\d+)?)\]")
_RESULTS = {"1-0", "0-1", "1/2-1/2", "*"}
_DATE = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)")


class BadRecord(ValueError):
    """A record that cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True)
class Record:
    """One game as it was recorded; ``number`` counts the file's games from 1."""

    number: int
    moves: list[str]
    context: dict[str, Any] = field(default_factory=dict)
    result: str = "*"
    date: str | None = None
    clocks: list[float | None] = field(default_factory=list)
    problem: str | None = None


def read_records(path: Path) -> Iterator[Record]:
    """Give the records of ``.pgn`` or ``.jsonl``, each with or without ``.zst``.

    A record that cannot be read comes with its ``problem``, so that the reader's caller can count and name it.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix in (".pgn", ".jsonl", ".zst")]
    kind = suffixes[0] if suffixes else ""
    if kind not in (".pgn", ".jsonl"):
        raise ValueError(f"{path.name}: records come as .pgn or .jsonl, each with or without .zst")
    with path.open("rb") as file:
        stream: Any = (
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            if suffixes[-1] == ".zst"
            else file
        )
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")
        yield from _read_pgn(lines) if kind == ".pgn" else _read_json_lines(lines)


def _read_json_lines(lines: IO[str]) -> Iterator[Record]:
    for number, line in enumerate(filter(str.strip, lines), start=1):
        try:
            yield _from_json(number, json.loads(line))
        except (ValueError, BadRecord) as error:
            yield Record(number, [], problem=str(error))


def _from_json(number: int, value: Any) -> Record:
    if isinstance(value, list):
        value = {"moves": value}
    moves = value.get("moves") if isinstance(value, dict) else None
    if not isinstance(moves, list) or not all(isinstance(move, str) for move in moves):
        raise BadRecord('a line is a list of strings, or an object with "moves", such a list')
    return Record(number, moves, value.get("context") or {}, date=value.get("date"))


def _read_pgn(lines: IO[str]) -> Iterator[Record]:
    number, tags, text = 0, dict[str, str](), list[str]()
    for line in lines:
        if line.startswith("[") and (tag := _TAG.match(line)):
            if text:
                number += 1
                yield _from_pgn(number, tags, "".join(text))
                tags, text = {}, []
            tags[tag[1]] = tag[2]
        elif line.strip() and not line.startswith("%"):
            text.append(line)
    if tags or text:
        yield _from_pgn(number + 1, tags, "".join(text))


def _from_pgn(number: int, tags: dict[str, str], text: str) -> Record:
    if "FEN" in tags or tags.get("Variant", "Standard") not in ("Standard", "From Position"):
        return Record(number, [], problem="it does not begin from the usual starting position")
    moves, clocks, depth = list[str](), list[float | None](), 0
    for comment, bracket, word in _TOKEN.findall(text):
        if bracket:
            depth += 1 if bracket == "(" else -1
        elif depth:
            continue
        elif comment and moves and (clock := _CLOCK.search(comment)):
            clocks[-1] = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        elif word and word not in _RESULTS:
            moves.append(word)
            clocks.append(None)
    problem = "its variations are not closed" if depth else None
    return Record(number, moves, _context(tags), tags.get("Result", "*"), _date(tags), clocks, problem)


def _context(tags: dict[str, str]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name, tag in (("white_elo", "WhiteElo"), ("black_elo", "BlackElo")):
        if tags.get(tag, "").isdecimal() and 0 < int(tags[tag]) <= 4000:
            context[name] = int(tags[tag])
    if re.fullmatch(r"\d{1,6}\+\d{1,4}|-", tags.get("TimeControl", "")):
        context["time_control"] = tags["TimeControl"]
    return context


def _date(tags: dict[str, str]) -> str | None:
    date = _DATE.fullmatch(tags.get("UTCDate") or tags.get("Date", ""))
    return "-".join(date.groups()) if date else None
