"""Reads what is known about a game beside its moves (ratings, time control) and gives small ids, 0 for unknown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Field(Protocol):
    """One context field: its name, how many ids it has, and what each value's id is."""

    @property
    def name(self) -> str:
        """The key under which a request gives it."""

    @property
    def size(self) -> int:
        """The number of ids, 0 (unknown) included."""

    def encode(self, value: Any) -> int:
        """Give the id of a value; ValueError, for people, if it is no value of this field."""


@dataclass(frozen=True)
class Rating:
    """A player's rating in buckets of 100 points: 1 is under 700, 24 is 2900 and over."""

    name: str
    low: int = 600
    step: int = 100
    buckets: int = 24

    @property
    def size(self) -> int:
        """The number of ids, 0 (unknown) included."""
        return self.buckets + 1

    def encode(self, value: Any) -> int:
        """Give the bucket of a rating between 0 and 4000."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4000:
            raise ValueError(f"{self.name} is a whole number from 0 to 4000, not {value!r}")
        return min(max((value - self.low) // self.step, 0), self.buckets - 1) + 1


_CLASSES = ("bullet", "blitz", "rapid", "classical", "correspondence")
_CLOCK = re.compile(r"(\d{1,6})\+(\d{1,4})")


@dataclass(frozen=True)
class TimeControl:
    """A time control's class, by the estimated seconds a player has for a game: base + 40 × increment.

    Under 180 s is bullet, under 480 blitz, under 1500 rapid, more is classical, as on lichess.org.
    """

    name: str = "time_control"
    size: int = len(_CLASSES) + 1

    def encode(self, value: Any) -> int:
        """Give the class of ``"rapid"``, or of ``"600+5"`` (seconds), or of ``"-"`` (correspondence)."""
        if value == "-":
            return _CLASSES.index("correspondence") + 1
        if value in _CLASSES:
            return _CLASSES.index(value) + 1
        clock = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        if clock is None:
            raise ValueError(f'{self.name} is one of {", ".join(_CLASSES)}, or seconds like "600+5", not {value!r}')
        seconds = int(clock[1]) + 40 * int(clock[2])
        return 1 + sum(seconds >= limit for limit in (180, 480, 1500))


def encode_context(fields: Sequence[Field], values: Mapping[str, Any]) -> list[int]:
    """Give one id per field, 0 where ``values`` has none; ValueError names an unknown field or a bad value."""
    known = {field.name for field in fields}
    for name in values:
        if name not in known:
            fitting = f"this game knows {', '.join(sorted(known))}" if known else "this game has none"
            raise ValueError(f"unknown context field {name!r}: {fitting}")
    return [0 if values.get(field.name) is None else field.encode(values[field.name]) for field in fields]
