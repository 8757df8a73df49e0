"""Reads and writes sessions through the store, many in one call, and lets changes of one session take turns."""

import asyncio
import secrets
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from service.deadline import within_deadline
from service.errors import InvalidRequest, PlyConflict, SessionExists, SessionExpired, StoreFailed, UnknownSession
from service.grouping import Group
from service.sessions import Commit, Expired, Forgotten, Page, Session, SessionStore, Unreadable
from service.settings import Settings

Answer = TypeVar("Answer")

# How often a change is tried anew when other processes write to the same session at the same time.
_ATTEMPTS = 16
# Milliseconds for which looking at a session is not worth a write to say that it is in use.
_TOUCHED = 60_000


class Keeper:
    """The sessions of one store, which runs on a thread of its own."""

    def __init__(self, store: SessionStore, settings: Settings) -> None:
        """Take the store, which belongs to the caller."""
        self.store = store
        self._touched = min(_TOUCHED, settings.state_ttl * 1000 // 2)
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._load = Group(store.load_many, self._thread)
        self._commit = Group(store.commit_many, self._thread)
        self._delete = Group(store.delete_many, self._thread)

    def close(self) -> None:
        """Finish what the store is doing."""
        self._thread.shutdown(wait=True)

    async def load(self, id_: str) -> Session:
        """Give a session; UnknownSession if there is none, SessionExpired if there was one."""
        found = await self._load(id_)
        if isinstance(found, Session):
            return found
        if isinstance(found, Unreadable):
            raise StoreFailed(f"session {id_!r} cannot be read: {found.reason}")
        if isinstance(found, Expired):
            raise SessionExpired(f"session {id_!r} has expired: it was idle for too long, or gave way to others")
        raise UnknownSession(f"no session is named {id_!r}")

    async def commit(self, session: Session, expected: int | None) -> bool:
        """Keep a session as used now, if the stored one has revision ``expected``; say whether it was kept."""
        revision = time.time_ns() if expected is None else expected + 1
        return await self._commit(Commit(replace(session, revision=revision, used=now()), expected))

    async def add(self, session: Session) -> None:
        """Keep a session that is new; SessionExists if its id is in use."""
        if not await self.commit(session, expected=None):
            raise SessionExists(f"session {session.id!r} exists; choose another id, or none to be given one")

    async def touch(self, session: Session, alive: Session) -> None:
        """Keep what a look at a session rebuilt, or, if it was not used for a while, that it was."""
        if alive is not session or now() - session.used > self._touched:
            await self.commit(alive, session.revision)

    async def change(self, id_: str, change: Callable[[Session], Awaitable[tuple[Session | None, Answer]]]) -> Answer:
        """Put what ``change`` makes of a session in its place, None if it stays, and give the answer that goes with it.

        Changes of one session take turns, in the order in which they came. Where another process was faster, ``change``
        is called again with the session as it is then. Nothing is cut off by a deadline once a commit has begun.
        """
        turn = self._turns.setdefault(id_, asyncio.Lock())
        async with within_deadline():
            await turn.acquire()
        try:
            for _ in range(_ATTEMPTS):
                async with within_deadline():
                    session = await self.load(id_)
                    after, answer = await change(session)
                if after is None or await self.commit(after, session.revision):
                    return answer
        finally:
            turn.release()
        raise PlyConflict("others kept playing in this session; send the ply you expect", ply=session.ply)

    async def delete(self, id_: str) -> None:
        """Forget a session; UnknownSession if there is none."""
        if not await self._delete(id_):
            raise UnknownSession(f"no session is named {id_!r}")

    async def scan(self, after: str | None, count: int) -> Page:
        """Give about ``count`` sessions of a listing, without caches; InvalidRequest if ``after`` is none of it."""
        try:
            return await self._on_thread(self.store.scan, after, count)
        except ValueError as error:
            raise InvalidRequest(f"after: {error}") from None
        except Exception as error:
            raise StoreFailed("the session store failed; ask again") from error

    async def forget(self) -> Forgotten:
        """Let go of some of what has been idle for too long."""
        return await self._on_thread(self.store.forget, now())

    async def ready(self) -> None:
        """Pass if the store answers; StoreFailed if it does not."""
        await self._load("-")

    async def _on_thread(self, call: Callable[..., Answer], *arguments: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def new_id() -> str:
    """Give an id that nobody can guess."""
    return secrets.token_urlsafe(16)


def now() -> int:
    """Give the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
