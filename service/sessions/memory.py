"""Sessions in the memory of one process: for tests and throw-away use."""

from collections.abc import Callable, Sequence

from service.names import in_tenant
from service.sessions.session import REVISION, Commit, Forgotten, Found, Kept, Limits, Page, Session, is_of, read
from service.sessions.watchers import Watchers


class MemoryStore:
    """A dict of records. Records are packed, as in every store, so that nothing depends on living in one process."""

    near = quick = True

    def __init__(self, limits: Limits) -> None:
        """Begin empty."""
        self._limits = limits
        self._records: dict[str, tuple[bytes, bytes | None]] = {}
        self._warm: set[str] = set()
        """Those with a cache."""
        self._used: dict[str, int] = {}
        """When each session was last used."""
        self._gone: dict[str, int] = {}
        """When each session that is gone was forgotten."""
        self._watchers = Watchers()

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        """Give the sessions of ``ids``, in order, None for those that nothing is known of."""
        return [read(id_, *self._records.get(id_, (None, None)), gone=id_ in self._gone) for id_ in ids]

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        """Say which sessions are still as they were given or kept."""
        return [is_of(session, *self._records.get(session.id, (None, None))) for session in sessions]

    def commit_many(self, commits: Sequence[Commit], waits: Callable[[], None] = lambda: None) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept."""
        return [self._commit(commit) for commit in commits]

    def _commit(self, commit: Commit) -> bool:
        session = commit.session
        stored = self._records.get(session.id)
        if (None if stored is None else int.from_bytes(stored[0][REVISION], "little")) != commit.expected:
            return False
        self._records[session.id] = session.pack()
        (self._warm.discard if session.cache is None else self._warm.add)(session.id)
        self._used[session.id] = session.used
        self._gone.pop(session.id, None)
        self._watchers.tell(session.id)
        return True

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions without a trace; say for each whether it was there."""
        return [self._delete(id_) for id_ in ids]

    def _delete(self, id_: str) -> bool:
        self._gone.pop(id_, None)
        return self._forget(id_)

    def _forget(self, id_: str) -> bool:
        there = self._records.pop(id_, None) is not None
        self._used.pop(id_, None)
        self._warm.discard(id_)
        if there:
            self._watchers.tell(id_)
        return there

    def scan(self, after: str | None, count: int, prefix: str) -> Page:
        """Give about ``count`` sessions in the order of their ids."""
        begun = None if after is None else prefix + after
        ids = sorted(id_ for id_ in self._records if in_tenant(id_, prefix) and (begun is None or id_ > begun))
        found = [read(id_, self._records[id_][0], None) for id_ in ids[:count]]
        last = ids[count - 1].removeprefix(prefix) if len(ids) > count else None
        return Page([one for one in found if isinstance(one, Session)], last)

    def forget(self, now: int) -> Forgotten:
        """Forget all that has been idle for too long at ``now``, or is too much."""
        limits, oldest = self._limits, sorted(self._used, key=self._used.__getitem__)
        warm = [id_ for id_ in oldest if id_ in self._warm]
        cool = _idle(warm, self._used, now - limits.state_ttl, len(warm) - limits.max_states)
        for id_ in cool:
            self._records[id_] = self._records[id_][0], None
            self._warm.discard(id_)
        bury = _idle(oldest, self._used, now - limits.session_ttl, len(oldest) - limits.max_sessions)
        for id_ in bury:
            self._gone[id_] = now
            self._forget(id_)
        for id_ in _idle(list(self._gone), self._gone, now - limits.session_ttl, 0):
            del self._gone[id_]
        return Forgotten(len(cool), len(bury))

    def kept(self) -> Kept:
        """Count the sessions."""
        return Kept(len(self._records), len(self._warm))

    def watch(self, id_: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` after each write of a session, until what is given is called."""
        return self._watchers.add(id_, changed)

    def close(self) -> None:
        """Do nothing: what is in memory ends with the process."""


def _idle(ids: list[str], used: dict[str, int], before: int, surplus: int) -> list[str]:
    """Give those used before a moment, and those that are a surplus; ``ids`` are in the order of their use."""
    return [id_ for number, id_ in enumerate(ids) if number < surplus or used[id_] < before]
