"""Reads sequences of discrete events that have no rules, with a vocabulary from their data."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from model.games.context import Field
from model.games.game import Cells, Grid, IllegalMove, Notation
from model.vocabulary import Vocabulary


class TokenPosition:
    """One running sequence: everything in the vocabulary may come next."""

    player = 0

    def __init__(self, vocabulary: Vocabulary, written: Sequence[Notation]) -> None:
        """Start an empty sequence of a vocabulary, whose moves were written once and for all."""
        self._vocabulary, self._written = vocabulary, written
        self.ply = 0

    def find(self, move: str) -> int:
        """Give the id of a token of the vocabulary."""
        try:
            return self._vocabulary.ids[move]
        except KeyError:
            raise IllegalMove(f"{move[:40]!r} is not in the vocabulary of {len(self._vocabulary)} moves") from None

    def play(self, move_id: int) -> None:
        """Note that one more token came."""
        self.ply += 1

    def legal(self) -> Sequence[int] | None:
        """Give None: there are no rules."""
        return None

    def cells(self) -> bytes:
        """Give nothing: there is no board."""
        return b""

    def notation(self, move_id: int) -> Notation:
        """Write the token as it stands in the vocabulary."""
        return self._written[move_id]

    def copy(self) -> "TokenPosition":
        """Give a sequence that can be played on without changing this one."""
        return copy(self)


class TokenGame:
    """Plain token sequences, such as the clicks of a visit or the events of a machine."""

    name = "tokens"
    context: tuple[Field, ...] = ()
    grid: Grid | None = None
    move_cells: Cells | None = None
    seen_sizes: tuple[int, ...] = ()

    def __init__(self, names: Iterable[str]) -> None:
        """Take the vocabulary's names in the order of their ids."""
        self.vocabulary = Vocabulary(tuple(names))
        self._written = tuple(map(Notation, self.vocabulary.names))

    def seen(self, context: Sequence[int], player: int) -> list[int]:
        """Give nothing: there is no context."""
        return []

    def new_position(self) -> TokenPosition:
        """Give the empty sequence."""
        return TokenPosition(self.vocabulary, self._written)

    def describe(self) -> Mapping[str, Any]:
        """Give the name; the manifest carries the vocabulary."""
        return {"name": self.name}
