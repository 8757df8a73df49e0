"""Reads PGN files and gives games: their moves, what is known about them, and why one cannot be used."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nextply_client.moves import RESULTS, read_movetext

# A value may hold quotes that nobody escaped, and a line more than one tag. Without a bound on its length a line of
# tags that do not end would take time by its square.
_TAG = re.compile(r'\[\s*(\w+)\s+"(.{0,500}?)"\s*\](?=\s*(?:\[|$))')
_TAG_LINE = re.compile(r'\s*\[\s*\w+\s+"')
_RATING = re.compile(r"\d{1,4}")
_CLOCK = re.compile(r"\d{1,6}\+\d{1,4}|-")
_RATINGS = (("white_elo", "WhiteElo"), ("black_elo", "BlackElo"))


@dataclass(frozen=True, slots=True)
class PgnGame:
    """A game of a file; ``number`` counts from 1, ``problem`` says why it has no moves."""

    number: int
    moves: list[str] = field(default_factory=list)
    context: dict[str, int | str] = field(default_factory=dict)
    problem: str | None = None


def read_pgn(lines: Iterable[str]) -> Iterator[PgnGame]:
    """Give the games of a file, one after another, as its lines come."""
    for number, (tags, text) in enumerate(_split(lines), start=1):
        yield _game(number, tags, text)


def _split(lines: Iterable[str]) -> Iterator[tuple[dict[str, str], str]]:
    """Give tags and move text of each game: tags behind move text begin another one, and so does text after a result.

    A comment without its end costs one game and not the rest of the file.
    """
    tags, text = dict[str, str](), list[str]()
    for line in lines:
        if line.startswith("%"):
            continue
        found = dict(_TAG.findall(line)) if _TAG_LINE.match(line) else None
        ended = bool(text) and not line.isspace() and text[-1].rstrip().endswith(RESULTS)
        if (found is not None and text) or ended:
            yield tags, "".join(text)
            tags, text = {}, []
        if found is not None:
            tags |= found
        elif not line.isspace():
            text.append(line)
    if tags or text:
        yield tags, "".join(text)


def _game(number: int, tags: dict[str, str], text: str) -> PgnGame:
    if "FEN" in tags:
        return PgnGame(number, problem="it does not begin from the usual starting position")
    try:
        return PgnGame(number, read_movetext(text), _context(tags))
    except ValueError as error:
        return PgnGame(number, problem=str(error))


def _context(tags: dict[str, str]) -> dict[str, int | str]:
    context: dict[str, int | str] = {}
    for name, tag in _RATINGS:
        if _RATING.fullmatch(tags.get(tag, "")) and 0 < int(tags[tag]) <= 4000:
            context[name] = int(tags[tag])
    if _CLOCK.fullmatch(tags.get("TimeControl", "")):
        context["time_control"] = tags["TimeControl"]
    return context
