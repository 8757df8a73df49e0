"""Sessions in an LMDB file: durable, larger than memory, shared by all processes of one machine."""

from collections.abc import Sequence
from pathlib import Path

import lmdb

from service.sessions.session import Commit, Session, StoreError


class LmdbStore:
    """One transaction a call. With ``fsync`` the disk has a commit before it is acknowledged."""

    def __init__(self, folder: Path, gib: int, fsync: bool) -> None:
        """Open or make the store; StoreError if the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(folder / "sessions.lmdb"), map_size=gib << 30, sync=fsync, metasync=fsync, readahead=False
            )
        except (OSError, lmdb.Error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StoreError(f"{folder}: sessions cannot be kept there: {reason}") from None

    def load_many(self, ids: Sequence[str]) -> list[Session | None]:
        """Give the sessions of ``ids``, in order, None for those that are not there."""
        with self._env.begin() as transaction:
            records = [transaction.get(id_.encode()) for id_ in ids]
        return [None if record is None else Session.unpack(bytes(record)) for record in records]

    def commit_many(self, commits: Sequence[Commit]) -> list[bool]:
        """Keep each session whose expectation holds; say for each whether it was kept."""
        with self._env.begin(write=True) as transaction:
            return [self._commit(transaction, commit) for commit in commits]

    @staticmethod
    def _commit(transaction: lmdb.Transaction, commit: Commit) -> bool:
        key = commit.session.id.encode()
        stored = transaction.get(key)
        if (None if stored is None else Session.unpack(bytes(stored)).revision) != commit.expected:
            return False
        return bool(transaction.put(key, commit.session.pack()))

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        """Forget sessions; say for each whether it was there."""
        with self._env.begin(write=True) as transaction:
            return [bool(transaction.delete(id_.encode())) for id_ in ids]

    def close(self) -> None:
        """Write what is not on disk yet and close."""
        self._env.sync(True)
        self._env.close()
