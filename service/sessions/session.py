"""What a session is and how it is kept: one record, the move log first, then what can be rebuilt from it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson

_HEAD = struct.Struct("<BHHIII")
_RECORD_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Session:
    """A running game. Ids are ids of the model's vocabulary.

    The log is ``context`` and ``moves``. The rest follows from it and the graph: ``state`` is what the engine gave
    after the last move, ``surprisal`` float32 [moves] is −ln p of each move before it was played, and ``next``
    float32 is ln p of each move that may come, in the order in which the position gives them.
    """

    id: str
    model: str
    version: str
    graph: str
    """SHA-256 of the graph that ``state`` and ``next`` are from."""
    vocabulary: str
    """Fingerprint of the vocabulary whose ids ``moves`` are."""
    context: dict[str, Any]
    moves: tuple[int, ...]
    surprisal: npt.NDArray[np.float32] = field(compare=False)
    next: npt.NDArray[np.float32] = field(compare=False)
    state: bytes = field(repr=False)
    revision: int
    """Rises with every write; begins with the nanosecond of creation, so that no two sessions of an id share one."""

    @property
    def ply(self) -> int:
        """How many moves were played."""
        return len(self.moves)

    def pack(self) -> bytes:
        """Give the record."""
        head = orjson.dumps(
            [self.id, self.model, self.version, self.graph, self.vocabulary, self.context, self.revision]
        )
        moves = np.array(self.moves, np.uint16 if max(self.moves, default=0) < 1 << 16 else np.uint32)
        sizes = len(head), moves.itemsize, len(self.moves), len(self.next), len(self.state)
        parts = head, moves.tobytes(), self.surprisal.tobytes(), self.next.tobytes(), self.state
        return _HEAD.pack(_RECORD_FORMAT, *sizes) + b"".join(parts)

    @classmethod
    def unpack(cls, record: bytes) -> "Session":
        """Read a record; ValueError if it is of another format."""
        found, head_size, move_size, plies, candidates, state_size = _HEAD.unpack_from(record)
        if found != _RECORD_FORMAT:
            raise ValueError(f"session record of format {found}; this version reads format {_RECORD_FORMAT}")
        edges = np.cumsum([_HEAD.size, head_size, plies * move_size, plies * 4, candidates * 4, state_size]).tolist()
        head, moves, surprisal, following, state = (record[start:end] for start, end in pairwise(edges))
        id_, model, version, graph, vocabulary, context, revision = orjson.loads(head)
        return cls(
            id=id_,
            model=model,
            version=version,
            graph=graph,
            vocabulary=vocabulary,
            context=context,
            moves=tuple(np.frombuffer(moves, f"<u{move_size}").tolist()),
            surprisal=np.frombuffer(surprisal, np.float32),
            next=np.frombuffer(following, np.float32),
            state=state,
            revision=revision,
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """A session to keep, if the stored one still has revision ``expected``; None expects that there is none."""

    session: Session
    expected: int | None


class StoreError(Exception):
    """A store that cannot be opened; the message says why."""


class SessionStore(Protocol):
    """Where sessions live. Every method may be called from any thread, one at a time."""

    def load_many(self, ids: Sequence[str]) -> list[Session | None]:
        """Give the sessions of ``ids``, in order, None for those that are not there."""

    def commit_many(self, commits: Sequence[Commit]) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept. Later items see earlier ones."""

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions; say for each whether it was there."""

    def close(self) -> None:
        """Let go of files and connections; what was acknowledged is kept."""
