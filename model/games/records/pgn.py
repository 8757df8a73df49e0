"""Reads PGN, of chess and of xiangqi, and gives records."""

import re
from collections.abc import Iterator
from datetime import date
from io import BufferedReader
from typing import IO, Any

from model.games.records.files import LONGEST, decode
from model.games.records.record import BadRecord, Record

# A value may hold quotes that nobody escaped, and a line more than one tag. Without a bound on its length a line of
# tags that do not end would take time by its square.
_TAG = re.compile(r'\[\s*(\w+)\s+"(.{0,500}?)"\s*\](?=\s*(?:\[|$))')
_TAG_LINE = re.compile(r'\s*\[\s*\w+\s+"')
_FIRST_MOVE = re.compile(r"\s*1\s*\.(?!\s*\.)")
# Comments, brackets and words are kept; `;` comments, `$` glyphs, move numbers, dots and lone `!?` are passed over.
_TOKEN = re.compile(r"(\{[^}]*\}?)|;[^\n]*|([()])|\$\d+|\d+(?![^\s.(){};$])|\.+|[!?]+(?!\S)|([^\s(){};$]+)")
_CLOCK = re.compile(r"\[%clk\s+(\d{1,4}):(\d{1,4}):(\d{1,4}(?:\.\d{1,9})?)\s*\]")
_RATING = re.compile(r"\d{1,4}")
_RESULTS = ("1-0", "0-1", "1/2-1/2", "*")
# 2024.12.31, 20241231, 1999/4/9, 1990年10月13日, or a year alone; never 2024.??.??, whose day may be any.
_DATE = re.compile(r"(\d{4})(?:[-./、年 ]?(\d\d?)(?:[-./、月 ]?(\d\d?))?)?(?!.*\?)")
_XIANGQI_START = "rnbakabnr/9/1c5c1/p1p1p1p1p/9/9/P1P1P1P1P/1C5C1/9/RNBAKABNR w"
_CHINESE = ("utf-8", "big5", "gb18030")


def read_pgn(file: BufferedReader) -> Iterator[Record]:
    """Give one record a game; the text is UTF-8, or what Chinese moves in its beginning say."""
    with decode(file, _encoding(file.peek())) as lines:
        for number, (tags, text) in enumerate(_split_games(lines), start=1):
            yield _from_pgn(number, tags, text)


def _encoding(head: bytes) -> str:
    """Find the encoding in which the beginning of a file says 平, which soon some piece goes: sideways."""
    found = next((encoding for encoding in _CHINESE if "平".encode(encoding) in head), "utf-8")
    return "utf-8-sig" if found == "utf-8" else found


def _split_games(lines: IO[str]) -> Iterator[tuple[dict[str, str], str]]:
    """Give tags and movetext of each game.

    A tag behind movetext begins a game whatever is still open there, so that a comment without its end costs one game
    and not the rest of the file.
    """
    tags, text, blank, numbered, ended = dict[str, str](), "", False, False, False
    while line := lines.readline(LONGEST):
        if not line.strip():
            blank = True
        elif not line.startswith("%") and (text or not line.lstrip().startswith(";")):
            found = dict(_TAG.findall(line)) if _TAG_LINE.match(line) else None
            first = found is None and _FIRST_MOVE.match(line) is not None
            again = first and numbered and (blank or ended)
            if again or (found is not None and _begins_game(found, tags, text, blank)):
                yield tags, text
                tags, text, numbered, ended = {}, "", False, False
            if found is not None:
                tags |= found
            else:
                text += line if len(text) < LONGEST else ""
                numbered, ended = numbered or first, line.rstrip().endswith(_RESULTS)
            blank = False
    if tags or text:
        yield tags, text


def _begins_game(found: dict[str, str], tags: dict[str, str], text: str, blank: bool) -> bool:
    """Say whether a line of the tags ``found`` belongs to another game than what was read so far."""
    return bool(text) or (blank and not found.keys().isdisjoint(tags))


def _from_pgn(number: int, tags: dict[str, str], text: str) -> Record:
    try:
        if not _begins_as_usual(tags):
            raise BadRecord("it does not begin from the usual starting position")
        if len(text) >= LONGEST:
            raise BadRecord("it is longer than any game")
        moves, clocks, result = _read_movetext(text)
    except BadRecord as problem:
        return Record(number, [], date=_date(tags), problem=str(problem))
    players = _player(tags, "White", "Red"), _player(tags, "Black")
    return Record(number, moves, _context(tags), tags.get("Result", result), _date(tags), clocks, players=players)


def _begins_as_usual(tags: dict[str, str]) -> bool:
    variant, position = tags.get("Variant", "Standard"), tags.get("FEN", _XIANGQI_START)
    return variant in ("Standard", "From Position") and position.startswith(_XIANGQI_START)


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
        if _RATING.fullmatch(tags.get(tag, "")) and 0 < int(tags[tag]) <= 4000:
            context[name] = int(tags[tag])
    if re.fullmatch(r"\d{1,6}\+\d{1,4}|-", tags.get("TimeControl", "")):
        context["time_control"] = tags["TimeControl"]
    return context


def _player(tags: dict[str, str], *sides: str) -> str:
    name = next((tags[side].strip() for side in sides if side in tags), "")
    return "" if name == "?" else name


def _date(tags: dict[str, str]) -> str | None:
    for tag in ("UTCDate", "Date"):
        if found := _DATE.match(tags.get(tag, "").strip()):
            try:
                return date(*(int(part or 1) for part in found.groups())).isoformat()
            except ValueError:
                continue
    return None
