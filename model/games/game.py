"""What every game offers, with or without rules: positions to play on, a vocabulary, context fields, a board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from model.games.context import Field
from model.vocabulary import Vocabulary

Cells = npt.NDArray[np.int32]


class IllegalMove(ValueError):
    """A move that cannot be understood or played here; the message is for the person who sent it."""


@dataclass(frozen=True)
class Grid:
    """The board as the network sees it: ``rows × columns`` cells, each holding one of ``codes`` small numbers."""

    rows: int
    columns: int
    codes: int

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.rows * self.columns


class Notation(NamedTuple):
    """One move as people write it: the canonical form, and standard algebraic notation where the game has it."""

    move: str
    san: str | None = None


class Position(Protocol):
    """One running game. Ids are ids of the game's vocabulary."""

    @property
    def ply(self) -> int:
        """How many moves were played."""

    @property
    def player(self) -> int:
        """Who moves next: 0 or 1 (always 0 in a game without players)."""

    def find(self, move: str) -> int:
        """Give the id of ``move``, in any notation the game reads; IllegalMove if it cannot be played here."""

    def play(self, move_id: int) -> None:
        """Play a move that ``find`` or ``legal`` gave."""

    def legal(self) -> Sequence[int] | None:
        """Give the ids that may be played next, none if the game is over; None where the game has no rules."""

    def cells(self) -> bytes:
        """Give the board as the player to move sees it, one code per cell; empty where the game has no board."""

    def notation(self, move_id: int) -> Notation:
        """Write a move; one that may not be played here goes by its name alone."""

    def copy(self) -> "Position":
        """Give a position that can be played on without changing this one."""


class Game(Protocol):
    """A kind of game: what does not change from one running game to the next."""

    @property
    def name(self) -> str:
        """The name that ``load_game`` knows it by."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Every move that can be predicted."""

    @property
    def context(self) -> tuple[Field, ...]:
        """What may be known about a game beside its moves; each field is one small id, 0 for unknown."""

    @property
    def grid(self) -> Grid | None:
        """The board, if the game has one."""

    @property
    def move_cells(self) -> Cells | None:
        """``int32 [moves, 2]``: source and destination cell of each move, −1 for none; None if moves have no cells."""

    @property
    def seen_sizes(self) -> tuple[int, ...]:
        """How many values each id of ``seen`` can take."""

    def seen(self, context: Sequence[int], player: int) -> list[int]:
        """Give the context ids as the player to move sees them: own fields, the opponent's, and which side it is."""

    def new_position(self) -> Position:
        """Give the position before the first move."""

    def describe(self) -> Mapping[str, Any]:
        """Give what ``load_game`` needs to make this game again."""
