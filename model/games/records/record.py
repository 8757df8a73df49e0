"""What readers of every format give: one record a game."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


class BadRecord(ValueError):
    """A record that cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True)
class Record:
    """One game as it was recorded; ``number`` counts the file's games from 1, ``players`` are names, "" if unknown.

    ``result`` is "1-0" where the player who moves first won. ``date`` is like "2024-12-31"; of a game of which only the
    year or the month is known, it is their first day.
    """

    number: int
    moves: list[str]
    context: dict[str, Any] = field(default_factory=dict)
    result: str = "*"
    date: str | None = None
    clocks: list[float | None] = field(default_factory=list)
    problem: str | None = None
    players: tuple[str, str] = ("", "")


def first_of_each(records: Iterable[Record], seen: Counter[int]) -> Iterator[Record]:
    """Pass over games whose moves were recorded before; ``seen`` counts the records of each game."""
    for record in records:
        game = hash(tuple(record.moves))
        if record.moves:
            seen[game] += 1
        if seen[game] <= 1:
            yield record
