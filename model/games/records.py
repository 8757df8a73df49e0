"""Reads files of game records (PGN, JSON lines; plain or .zst) and gives one record a game, never a whole file."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

# A value may hold quotes that nobody escaped, and a line more than one tag.
_TAG = re.compile(r'\[\s*(\w+)\s+"(.*?)"\s*\](?=\s*(?:\[|$))')
_TAG_LINE = re.compile(r'\s*\[\s*\w+\s+"')
_FIRST_MOVE = re.compile(r"^\s*1\s*\.(?!\s*\.)", re.MULTILINE)
# Comments, brackets and words are kept; `;` comments, `$` glyphs, move numbers, dots and lone `!?` are passed over.
_TOKEN = re.compile(r"(\{[^}]*\}?)|;[^\n]*|([()])|\$\d+|\d+(?![^\s.(){};$])|\.+|[!?]+(?!\S)|([^\s(){};$]+)")
_CLOCK = re.compile(r"\[%clk\s+(\d+):(\d+):(\d+(?:\.\d+)?)\s*\]")
_RESULTS = ("1-0", "0-1", "1/2-1/2", "*")
_DATE = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


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
    ValueError if the file's name has another ending, or its compressed content is damaged.
    """
    suffixes = [suffix for suffix in map(str.lower, path.suffixes) if suffix in (".pgn", ".jsonl", ".zst")]
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
        try:
            yield from _read_pgn(lines) if kind == ".pgn" else _read_json_lines(lines)
        except zstandard.ZstdError as error:
            raise ValueError(f"{path.name} cannot be decompressed: {error}") from None


def _read_json_lines(lines: IO[str]) -> Iterator[Record]:
    for number, line in enumerate(filter(str.strip, lines), start=1):
        try:
            yield _from_json(number, json.loads(line))
        except (ValueError, RecursionError) as error:
            yield Record(number, [], problem=str(error))


def _from_json(number: int, value: Any) -> Record:
    if isinstance(value, list):
        value = {"moves": value}
    moves = value.get("moves") if isinstance(value, dict) else None
    if not isinstance(moves, list) or not all(isinstance(move, str) for move in moves):
        raise BadRecord('a line is a list of strings, or an object with "moves", such a list')
    context, date = value.get("context") or {}, value.get("date")
    if not isinstance(context, dict):
        raise BadRecord('"context" is an object, one value a field')
    if date is not None and not (isinstance(date, str) and _ISO_DATE.fullmatch(date)):
        raise BadRecord('"date" is a string like "2024-12-31"')
    return Record(number, moves, context, date=date)


def _read_pgn(lines: IO[str]) -> Iterator[Record]:
    for number, (tags, text) in enumerate(_split_games(lines), start=1):
        yield _from_pgn(number, tags, text)


def _split_games(lines: IO[str]) -> Iterator[tuple[dict[str, str], str]]:
    """Give tags and movetext of each game.

    A tag behind movetext begins a game whatever is still open there, so that a comment without its end costs one game
    and not the rest of the file.
    """
    tags, text, blank = dict[str, str](), "", False
    for line in lines:
        if not line.strip():
            blank = True
        elif not line.startswith("%"):
            found = dict(_TAG.findall(line)) if _TAG_LINE.match(line) else None
            if _begins_game(line, found, tags, text, blank):
                yield tags, text
                tags, text = {}, ""
            if found is not None:
                tags |= found
            elif text or not line.lstrip().startswith(";"):
                text += line
            blank = False
    if tags or text:
        yield tags, text


def _begins_game(line: str, found: dict[str, str] | None, tags: dict[str, str], text: str, blank: bool) -> bool:
    """Say whether a line, in which the tags ``found`` were, belongs to another game than what was read so far."""
    if found is not None:
        return bool(text) or (blank and not found.keys().isdisjoint(tags))
    if not (_FIRST_MOVE.match(line) and _FIRST_MOVE.search(text)):
        return False
    return blank or text.rstrip().endswith(_RESULTS)


def _from_pgn(number: int, tags: dict[str, str], text: str) -> Record:
    try:
        if "FEN" in tags or tags.get("Variant", "Standard") not in ("Standard", "From Position"):
            raise BadRecord("it does not begin from the usual starting position")
        moves, clocks, result = _read_movetext(text)
    except BadRecord as problem:
        return Record(number, [], date=_date(tags), problem=str(problem))
    return Record(number, moves, _context(tags), tags.get("Result", result), _date(tags), clocks)


def _read_movetext(text: str) -> tuple[list[str], list[float | None], str]:
    """Give the moves of the main line, the seconds on the clock after each, and the result; BadRecord if it is cut."""
    moves, clocks, result, depth = list[str](), list[float | None](), "", 0
    for comment, bracket, word in _TOKEN.findall(text):
        if bracket:
            depth += 1 if bracket == "(" else -1
            if depth < 0:
                raise BadRecord("it closes a variation that was not opened")
        elif comment and not comment.endswith("}"):
            raise BadRecord("its comment is not closed")
        elif depth:
            continue
        elif comment and moves and (clock := _CLOCK.search(comment)):
            clocks[-1] = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        elif word and result:
            raise BadRecord(f"it goes on after its result {result}")
        elif word in _RESULTS:
            result = word
        elif word:
            moves.append(word)
            clocks.append(None)
    if depth:
        raise BadRecord("its variations are not closed")
    return moves, clocks, result or "*"


def _context(tags: dict[str, str]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name, tag in (("white_elo", "WhiteElo"), ("black_elo", "BlackElo")):
        if tags.get(tag, "").isdecimal() and 0 < int(tags[tag]) <= 4000:
            context[name] = int(tags[tag])
    if re.fullmatch(r"\d{1,6}\+\d{1,4}|-", tags.get("TimeControl", "")):
        context["time_control"] = tags["TimeControl"]
    return context


def _date(tags: dict[str, str]) -> str | None:
    dates = (_DATE.fullmatch(tags.get(tag, "")) for tag in ("UTCDate", "Date"))
    return next(("-".join(date.groups()) for date in dates if date), None)
