"""What follows from the log of a session: how it is kept, and how it is known to follow from that log."""

import hashlib
import struct
from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# A log begins with: format, bytes of a move, bytes before the moves, how many moves, revision, time of use, vocabulary.
LOG = struct.Struct("<BBHIQQ8s")
_CACHE = struct.Struct("<32s8sII")
# Bytes with which a record of a cache begins, all but what was computed.
CACHE_HEAD = slice(0, _CACHE.size)


@dataclass(frozen=True, slots=True)
class Cache:
    """What follows from the beginning of a session's log and a graph, and is rebuilt from them when it is missing.

    Of a session that this process played in it follows from the whole log; a store may keep one of some moves before.
    """

    graph: str
    """SHA-256 of the graph, in hexadecimal."""
    surprisal: "array[float]"
    """−ln p of each move as it was predicted before it was played, in float32; never changed."""
    next: npt.NDArray[np.float32]
    """float32, ln p of each move that may come, in the order in which the position gives them."""
    state: bytes = field(repr=False)
    """What the engine gave after the last move."""

    @property
    def ply(self) -> int:
        """After how many moves of the game it is right."""
        return len(self.surprisal)

    def pack(self, log: bytes) -> bytes:
        """Give the record of the cache of a session, whose log has the record ``log``."""
        head = _CACHE.pack(bytes.fromhex(self.graph), _beginning(log, self.ply), self.ply, len(self.next))
        return b"".join((head, self.surprisal.tobytes(), self.next.tobytes(), self.state))

    def ahead(self, head: bytes, log: bytes) -> int | None:
        """Say how many plies it is ahead of another cache, by the ``head`` of its record; None if that is of no use.

        ``log`` is the record of the session as it is now.
        """
        if len(head) < _CACHE.size:
            return None
        graph, beginning, plies, _ = _CACHE.unpack(head)
        fits = graph == bytes.fromhex(self.graph) and beginning == _beginning(log, plies)
        return self.ply - plies if fits else None

    @classmethod
    def unpack(cls, record: bytes, log: bytes | None) -> "Cache | None":
        """Read a record; None if it is not whole, or not of ``log``: what can be rebuilt need not be mended."""
        if len(record) < _CACHE.size:
            return None
        graph, beginning, plies, candidates = _CACHE.unpack_from(record)
        next_at = _CACHE.size + 4 * plies
        state_at = next_at + 4 * candidates
        if state_at > len(record) or (log is not None and beginning != _beginning(log, plies)):
            return None
        surprisal = array("f", record[_CACHE.size : next_at])
        following = np.frombuffer(record[next_at:state_at], np.float32)
        return cls(graph.hex(), surprisal, following, record[state_at:])


def _beginning(log: bytes, plies: int) -> bytes:
    """Give a digest of how a game begins: its model, its context and so many moves; b"" if it has fewer."""
    _, move_size, head_size, *_ = LOG.unpack_from(log)
    end = LOG.size + head_size + plies * move_size
    return hashlib.sha256(memoryview(log)[LOG.size : end]).digest()[:8] if end <= len(log) else b""
