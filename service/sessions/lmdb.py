"""Sessions in an LMDB file: durable, larger than memory, shared by all processes of one machine."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lmdb

from service.names import BETWEEN
from service.sessions.cache import CACHE_HEAD, Cache
from service.sessions.order import MARK, get, oldest, place_of
from service.sessions.session import (
    FORMAT,
    REVISION,
    Commit,
    Forgotten,
    Found,
    Kept,
    Limits,
    Page,
    Session,
    StoreError,
    is_of,
    read,
)

# Marks passed over for one page of a listing: nobody waits long for the store.
_AT_ONCE = 512
# What divides a tenant from the name of a session, and the byte that comes next: behind all that is the tenant's.
_BETWEEN = BETWEEN.encode()
_BEHIND = bytes([_BETWEEN[0] + 1])
# Plies by which the cache of a session may be behind its log, once so many changes in a row were this process's own.
_LAG, _OWN = 7, 4
# Bytes of the longest key that LMDB takes.
_LONGEST = 511


class LmdbStore:
    """One transaction a call. With ``fsync`` the disk has a commit before it is acknowledged.

    Logs and caches are kept apart, by id. Three indices order the ids by when they were last used: ``warm`` those with
    a cache, ``cold`` those without, ``gone`` those of which only a mark is left. Every id stands in one of them.

    A move writes as few pages as can be, since these are what a durable move costs: its log, every few seconds its
    place in an index, and, of a session in which no other process plays, its cache every eighth time: whoever loads it
    in between computes up to seven plies anew, which costs less than to write it with each, as long as that is seldom.
    """

    near = True

    def __init__(self, folder: Path, gib: int, fsync: bool, limits: Limits) -> None:
        """Open or make the store; StoreError if the folder cannot be used."""
        self._limits, self._fsync, self.quick = limits, fsync, not fsync
        file = str(folder / "sessions.lmdb")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(file, map_size=gib << 30, max_dbs=8, sync=fsync, metasync=False, readahead=False)
            if not self._format_fits():
                self._env.close()
                raise StoreError(f"{folder}: its sessions are not of format {FORMAT}, which this version reads")
            self._logs, self._caches, self._warm, self._cold, self._gone = (
                self._env.open_db(name) for name in (b"logs", b"caches", b"warm", b"cold", b"gone")
            )
        except (OSError, lmdb.Error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StoreError(f"{folder}: sessions cannot be kept there: {reason}") from None

    def _format_fits(self) -> bool:
        with self._env.begin(write=True) as transaction:
            if transaction.stat()["entries"] == 0:
                transaction.put(b"format", b"%d" % FORMAT)
            return bool(transaction.get(b"format") == b"%d" % FORMAT)

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        """Give the sessions of ``ids``, in order, None for those that nothing is known of."""
        with self._env.begin() as transaction:
            keys = [id_.encode() for id_ in ids]
            records = [(get(transaction, key, self._logs), get(transaction, key, self._caches)) for key in keys]
        return [_read(id_, log, cache) for id_, (log, cache) in zip(ids, records, strict=True)]

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        """Say which sessions are still as they were given or kept; nothing of them is copied."""
        with self._env.begin(buffers=True) as transaction:
            logs, caches = partial(transaction.get, db=self._logs), partial(transaction.get, db=self._caches)
            return [is_of(session, logs(key := session.id.encode()), caches(key)) for session in sessions]

    def commit_many(self, commits: Sequence[Commit], waits: Callable[[], None] = lambda: None) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept."""
        # Of the cache that is there no more is looked at than how it begins.
        with self._env.begin(write=True, buffers=True) as transaction:
            kept = [self._commit(transaction, commit) for commit in commits]
            waits()
        self._flush()
        return kept

    def _flush(self) -> None:
        """Wait until the disk has what was committed.

        The commit itself waits for its pages alone, not for the page that makes them count: a power cut may undo it
        until that is there too. This is waited for here, where other processes can write meanwhile.
        """
        if self._fsync:
            self._env.sync(True)

    def _commit(self, transaction: lmdb.Transaction, commit: Commit) -> bool:
        key = commit.session.id.encode()
        stored = get(transaction, key, self._logs) or b""
        if (int.from_bytes(stored[REVISION], "little") if len(stored) > MARK else None) != commit.expected:
            return False
        behind = transaction.get(key, db=self._caches)
        head = None if behind is None else bytes(behind[CACHE_HEAD])
        cache, log = commit.session.cache, commit.session.pack_log()
        transaction.put(key, log, db=self._logs)
        if cache is None:
            transaction.delete(key, db=self._caches)
        elif head is None or not (commit.own >= _OWN and _may_stay(head, cache, log)):
            transaction.put(key, cache.pack(log), db=self._caches)
        place = place_of(log, key)
        if (head is None) != (cache is None) or len(stored) <= MARK or place_of(stored, key) != place:
            self._unlist(transaction, key, stored)
            transaction.put(place, b"", db=self._cold if cache is None else self._warm)
        return True

    def _unlist(self, transaction: lmdb.Transaction, key: bytes, stored: bytes) -> None:
        """Take an id out of the index in which it stands."""
        if len(stored) == MARK:
            transaction.delete(place_of(stored, key), db=self._gone)
        elif stored:
            place = place_of(stored, key)
            if not transaction.delete(place, db=self._warm):
                transaction.delete(place, db=self._cold)

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions without a trace; say for each whether it was there."""
        with self._env.begin(write=True) as transaction:
            there = [self._delete(transaction, id_.encode()) for id_ in ids]
        self._flush()
        return there

    def _delete(self, transaction: lmdb.Transaction, key: bytes) -> bool:
        stored = get(transaction, key, self._logs) or b""
        self._unlist(transaction, key, stored)
        transaction.delete(key, db=self._logs)
        transaction.delete(key, db=self._caches)
        return len(stored) > MARK

    def scan(self, after: str | None, count: int, prefix: str) -> Page:
        """Give about ``count`` sessions in the order of their ids."""
        sessions: list[Session] = []
        last, begin = "", prefix.encode()[:_LONGEST]
        with self._env.begin(db=self._logs) as transaction:
            cursor = transaction.cursor()
            start = begin if after is None else f"{prefix}{after}\0".encode()[:_LONGEST]
            more = _of_tenant(cursor, begin, cursor.set_range(start) if start else cursor.first())
            for _ in range(count + _AT_ONCE):
                if not more or len(sessions) == count:
                    break
                last = bytes(cursor.key()).decode()
                session = _read(last, bytes(cursor.value()), None)
                if isinstance(session, Session):
                    sessions.append(session)
                more = _of_tenant(cursor, begin, cursor.next())
        return Page(sessions, last.removeprefix(prefix) if more else None)

    def forget(self, now: int) -> Forgotten:
        """Forget some of what has been idle for too long at ``now``, or is too much."""
        # A process that was killed while it read would keep old pages from being used again.
        self._env.reader_check()
        with self._env.begin() as transaction:
            if not any(self._idle(transaction, now)):
                return Forgotten()
        with self._env.begin(write=True) as transaction:
            # Others may have played since.
            cool, bury, erase = self._idle(transaction, now)
            states = sum(self._cool(transaction, place) for place in cool)
            sessions = sum(self._bury(transaction, place, now) for place in bury)
            for place in erase:
                if transaction.delete(place, db=self._gone):
                    transaction.delete(place[MARK:], db=self._logs)
        return Forgotten(states, sessions)

    def _idle(self, transaction: lmdb.Transaction, now: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Give where those stand that are to lose their state, their log, and the mark that they were there."""
        limits = self._limits
        warm, cold = (transaction.stat(index)["entries"] for index in (self._warm, self._cold))
        state, session = now - limits.state_ttl, now - limits.session_ttl
        return (
            oldest(transaction, self._logs, [self._warm], state, warm - limits.max_states),
            oldest(transaction, self._logs, [self._warm, self._cold], session, warm + cold - limits.max_sessions),
            oldest(transaction, self._logs, [self._gone], session, 0),
        )

    def _cool(self, transaction: lmdb.Transaction, place: bytes) -> bool:
        """Let a session lose what can be rebuilt."""
        if not transaction.delete(place, db=self._warm):
            return False
        transaction.delete(place[MARK:], db=self._caches)
        return bool(transaction.put(place, b"", db=self._cold))

    def _bury(self, transaction: lmdb.Transaction, place: bytes, now: int) -> bool:
        """Leave of a session no more than the mark that it was there."""
        key = place[MARK:]
        if not (transaction.delete(place, db=self._cold) or transaction.delete(place, db=self._warm)):
            return False
        if place_of(get(transaction, key, self._logs) or b"", key) != place:
            # The record was damaged since; whether the session is idle is not known any more.
            return False
        transaction.delete(key, db=self._caches)
        mark = now.to_bytes(MARK, "little")
        transaction.put(place_of(mark, key), b"", db=self._gone)
        return bool(transaction.put(key, mark, db=self._logs))

    def kept(self) -> Kept:
        """Count the sessions by the indices."""
        with self._env.begin() as transaction:
            warm, cold = (transaction.stat(index)["entries"] for index in (self._warm, self._cold))
        return Kept(warm + cold, warm)

    def watch(self, id_: str, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Give None: LMDB does not tell of what other processes write."""

    def close(self) -> None:
        """Write what is not on disk yet and close."""
        self._env.sync(True)
        self._env.close()


def _read(id_: str, log: bytes | None, cache: bytes | None) -> Found:
    gone = log is not None and len(log) == MARK
    return read(id_, None if gone else log, cache, gone=gone)


def _may_stay(head: bytes, cache: Cache, log: bytes) -> bool:
    """Say whether the cache that is there, whose record begins so, is near enough to a newer one."""
    ahead = cache.ahead(head, log)
    return ahead is not None and ahead <= _LAG


def _of_tenant(cursor: Any, prefix: bytes, there: bool) -> bool:
    """Go on to the next id of a tenant, past all of others; say whether there is one."""
    while there:
        key = bytes(cursor.key())
        if not key.startswith(prefix):
            return False
        at = key.find(_BETWEEN, len(prefix))
        if at < 0:
            return True
        there = cursor.set_range(key[:at] + _BEHIND)
    return False
