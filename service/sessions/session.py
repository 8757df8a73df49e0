"""What a session is and how it is kept: the log, and apart from it what can be rebuilt from the log."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from service.sessions.cache import LOG, Cache

FORMAT = 3
# Stores compare and index records without reading them whole, so these places belong to the format.
REVISION, USED = slice(8, 16), slice(16, 24)
# Type codes of move ids, by their bytes.
_MOVES = {2: "H", 4: "I"}


@dataclass(frozen=True, slots=True)
class Session:
    """A running game: ``context`` and ``moves`` are its log, in ids of the model's vocabulary."""

    id: str
    model: str
    version: str
    vocabulary: str
    """Fingerprint of the vocabulary whose ids ``moves`` are, 16 hexadecimal digits."""
    context: dict[str, Any]
    moves: "array[int]"
    """As they are kept, since packing hundreds anew at every move would take longer than the rest; never changed."""
    revision: int
    """Rises with every write; begins with the nanosecond of creation, so that no two sessions of an id share one."""
    used: int
    """When it was last played in or asked for, in milliseconds since 1970."""
    cache: Cache | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Take moves in any sequence."""
        if not isinstance(self.moves, array):
            object.__setattr__(self, "moves", pack_moves(self.moves))

    @property
    def ply(self) -> int:
        """How many moves were played."""
        return len(self.moves)

    # Both are made with every move; ``dataclasses.replace`` takes three times as long.
    def later(self, version: str, moves: "array[int]", cache: Cache) -> "Session":
        """Give it with other moves and their cache, which a version of its model made."""
        return Session(
            self.id, self.model, version, self.vocabulary, self.context, moves, self.revision, self.used, cache
        )

    def stamped(self, revision: int, used: int) -> "Session":
        """Give it as it is kept with a revision, used at a moment."""
        return Session(
            self.id, self.model, self.version, self.vocabulary, self.context, self.moves, revision, used, self.cache
        )

    def pack(self) -> tuple[bytes, bytes | None]:
        """Give the record of the log, and of the cache if there is one."""
        log = self.pack_log()
        return log, None if self.cache is None else self.cache.pack(log)

    def pack_log(self) -> bytes:
        """Give the record of the log."""
        head = orjson.dumps([self.model, self.version, self.context])
        sizes, vocabulary = (self.moves.itemsize, len(head), len(self.moves)), bytes.fromhex(self.vocabulary)
        return LOG.pack(FORMAT, *sizes, self.revision, self.used, vocabulary) + head + self.moves.tobytes()

    @classmethod
    def unpack(cls, id_: str, log: bytes, cache: bytes | None = None) -> "Session":
        """Read the records of a session; ValueError if the log is of another format or not whole."""
        if log[:1] != bytes([FORMAT]):
            raise ValueError(f"session record of format {log[0] if log else None}; this version reads format {FORMAT}")
        if len(log) < LOG.size:
            raise ValueError("session record that is cut short")
        _, move_size, head_size, plies, revision, used, vocabulary = LOG.unpack_from(log)
        moves_at = LOG.size + head_size
        if move_size not in _MOVES or len(log) != moves_at + plies * move_size:
            raise ValueError("session record that is not whole")
        model, version, context = orjson.loads(log[LOG.size : moves_at])
        moves = array(_MOVES[move_size], log[moves_at:])
        kept = None if cache is None else Cache.unpack(cache, log)
        return cls(id_, model, version, vocabulary.hex(), context, moves, revision, used, kept)


def pack_moves(moves: Sequence[int]) -> "array[int]":
    """Give ids of moves in as few bytes as hold them all."""
    try:
        return array("H", moves)
    except OverflowError:
        return array("I", moves)


def moves_after(before: "array[int]", moves: Sequence[int]) -> "array[int]":
    """Give moves with others behind them."""
    packed = pack_moves(moves)
    return before + packed if before.typecode == packed.typecode else pack_moves([*before, *moves])


class Commit(NamedTuple):
    """A session to keep, if the stored one still has revision ``expected``; None expects that there is none."""

    session: Session
    expected: int | None
    own: int = 0
    """How many changes of it this process made up to then, with none by another in between."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What is known of a session that was idle for too long, or gave way to others, and was forgotten."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read, and why."""

    reason: str


Found = Session | Expired | Unreadable | None


def read(id_: str, log: bytes | None, cache: bytes | None, *, gone: bool = False) -> Found:
    """Give what the records of an id are; ``gone`` says that a session was forgotten if there is no log."""
    if log is None:
        return Expired() if gone else None
    try:
        return Session.unpack(id_, log, cache)
    except ValueError as error:
        return Unreadable(str(error))


def is_of(session: Session, log: bytes | memoryview | None, cache: bytes | memoryview | None) -> bool:
    """Say whether records are of the very revision of a session, and have a cache if it has one."""
    if log is None or log[REVISION] != session.revision.to_bytes(8, "little"):
        return False
    return (session.cache is None) == (cache is None)


@dataclass(frozen=True, slots=True)
class Page:
    """Some sessions of a listing, without their caches, and where the listing goes on; None at its end."""

    sessions: list[Session]
    after: str | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many sessions lost their state, and how many their log."""

    states: int = 0
    sessions: int = 0


class Kept(NamedTuple):
    """How many sessions a store has, and how many of them with their state."""

    sessions: int
    states: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How long idle sessions are kept, in milliseconds, and how many; what was used longest ago goes first."""

    state_ttl: int
    session_ttl: int
    """For as long again it is remembered that there was a session."""
    max_states: int
    max_sessions: int


class StoreError(Exception):
    """A store that cannot be opened, or not be reached; the message says why, and never holds a password."""


class SessionStore(Protocol):
    """Where sessions live.

    Any thread may call, one at a time; only ``has_many``, ``kept``, ``watch`` and what that gives, and ``load_many``
    where it is near, may be called while another call runs.
    What goes wrong raises: StoreError where the store cannot be reached, else the error of what it is built on. Whether
    a commit that raised was kept is known by loading.
    """

    @property
    def near(self) -> bool:
        """Whether loads take microseconds, since what is kept is on this machine."""

    @property
    def quick(self) -> bool:
        """Whether commits take microseconds, since they wait for no disk and no server."""

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        """Give the sessions of ``ids``, in order, None for those that nothing is known of."""

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        """Say of sessions that were loaded or kept before which are still what ``load_many`` would give, caches too.

        It takes microseconds and may be called while another call runs. A store that cannot know so quickly says no.
        """

    def commit_many(self, commits: Sequence[Commit], waits: Callable[[], None] = lambda: None) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept. Later items see earlier ones.

        ``waits`` is called once nothing is left to do but to wait for a disk or a server, if there is such a moment.
        """

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions without a trace; say for each whether it was there."""

    def scan(self, after: str | None, count: int, prefix: str) -> Page:
        """Give about ``count`` sessions whose ids begin so, from where a listing of them stands, None at its begin.

        Those with a tenant's name after the prefix are of other tenants; neither they nor where they stand are told.
        A session that is there during the whole listing is given at least once; one that cannot be read is left out.
        A page may be empty though there are more. ValueError if ``after`` is nothing that the store gave.
        """

    def forget(self, now: int) -> Forgotten:
        """Forget some of what has been idle for too long at ``now``, in milliseconds since 1970; nothing left gives 0.

        A store that forgets by itself has nothing to do here.
        """

    def kept(self) -> Kept | None:
        """Count the sessions in microseconds; None if that cannot be done."""

    def watch(self, id_: str, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Call ``changed``, on any thread, after each write of a session by any process, until what is given is called.

        It may be called for nothing too: once when watching begins, and whenever a write may have been missed. None
        where the store cannot tell, and has to be asked.
        """

    def close(self) -> None:
        """Let go of files and connections; what was acknowledged is kept."""
