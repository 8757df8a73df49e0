"""Sessions in the memory of one process: for tests and throw-away use."""

from collections.abc import Sequence

from service.sessions.session import Commit, Session


class MemoryStore:
    """A dict of records. Records are packed, as in every store, so that nothing depends on living in one process."""

    def __init__(self) -> None:
        """Begin empty."""
        self._records: dict[str, bytes] = {}

    def load_many(self, ids: Sequence[str]) -> list[Session | None]:
        """Give the sessions of ``ids``, in order, None for those that are not there."""
        records = (self._records.get(id_) for id_ in ids)
        return [None if record is None else Session.unpack(record) for record in records]

    def commit_many(self, commits: Sequence[Commit]) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept."""
        return [self._commit(commit) for commit in commits]

    def _commit(self, commit: Commit) -> bool:
        stored = self._records.get(commit.session.id)
        if (None if stored is None else Session.unpack(stored).revision) != commit.expected:
            return False
        self._records[commit.session.id] = commit.session.pack()
        return True

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions; say for each whether it was there."""
        return [self._records.pop(id_, None) is not None for id_ in ids]

    def close(self) -> None:
        """Do nothing: what is in memory ends with the process."""
