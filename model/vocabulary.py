"""Reads the names of a game's moves and gives the ids the network knows them by."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Vocabulary:
    """Moves numbered 0 to ``len(vocabulary) - 1``; one id more, ``start``, stands for "nothing played yet".

    The network reads ``len(vocabulary) + 1`` ids (``start`` included) and scores ``len(vocabulary)``.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse an empty vocabulary and one that names a move twice."""
        if not self.names:
            raise ValueError("a vocabulary needs at least one move")
        if len(set(self.names)) != len(self.names):
            twice = sorted(name for name, count in Counter(self.names).items() if count > 1)
            raise ValueError(f"a vocabulary names each move once; named more than once: {', '.join(twice[:5])}")

    @classmethod
    def of(cls, sequences: Iterable[Iterable[str]]) -> "Vocabulary":
        """Give the vocabulary of every move seen in ``sequences``, sorted, so that order of reading is no matter."""
        return cls(tuple(sorted({move for sequence in sequences for move in sequence})))

    @property
    def start(self) -> int:
        """The id that is read before the first move."""
        return len(self.names)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each name."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that another vocabulary, or another order of the same moves, does not share."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        """Give the number of moves that can be predicted."""
        return len(self.names)
