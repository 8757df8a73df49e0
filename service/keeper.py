"""Reads and writes sessions through the store, many in one call, and lets changes of one session take turns."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from model.games import Position
from service.crowding import brief, crowded
from service.deadline import within_deadline
from service.errors import InvalidRequest, PlyConflict, SessionExists, SessionExpired, StoreFailed, UnknownSession
from service.grouping import Group
from service.meanwhile import Meanwhile, Work
from service.metrics import store_seconds
from service.names import shown
from service.recent import Recent
from service.sessions import Commit, Expired, Forgotten, Found, Kept, Page, Session, SessionStore, Unreadable
from service.settings import Settings
from service.timing import asked_store, current_timing
from service.trust import Trust
from service.turns import Turns

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

# How often a change is tried anew when other processes write to the same session at the same time.
_ATTEMPTS = 16
# Milliseconds for which looking at a session is not worth a write to say that it is in use.
_TOUCHED = 60_000


class Change(NamedTuple, Generic[Answer_co]):
    """What is made of a session: as it is to be kept, None if it stays as it is; and the answer that goes with it."""

    after: Session | None
    answer: Answer_co
    position: Position | None = None
    """Where the session then stands; given away."""


class Keeper:
    """The sessions of one store, which runs on a thread of its own."""

    def __init__(self, store: SessionStore, recent: Recent, settings: Settings) -> None:
        """Take the store and what is remembered of it, which belong to the caller."""
        self.store = store
        self._recent, self._trust = recent, Trust()
        self._touched = min(_TOUCHED, settings.state_ttl * 1000 // 2)
        self._turns = Turns()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        thread = None if store.quick else self._thread
        self._load = Group(store.load_many, None if store.near else self._thread, store_seconds.of("load"))
        self._meanwhile = Meanwhile()
        commit = store.commit_many if store.quick else partial(store.commit_many, waits=self._meanwhile.begin)
        self._commit = Group(commit, thread, store_seconds.of("commit"), brief(settings.workers) if store.near else 0)
        self._delete = Group(store.delete_many, thread, store_seconds.of("delete"))
        self._crowded = crowded(settings.workers)

    def close(self) -> None:
        """Finish what the store is doing."""
        self._thread.shutdown(wait=True)

    async def load(self, id_: str) -> Session:
        """Give a session; UnknownSession if there is none, SessionExpired if there was one."""
        (found,) = await self.load_all([id_])
        if isinstance(found, Session):
            return found
        if isinstance(found, Unreadable):
            raise StoreFailed(f"session {shown(id_)!r} cannot be read: {found.reason}")
        if isinstance(found, Expired):
            raise SessionExpired(f"session {shown(id_)!r} has expired: it was idle for too long, or gave way to others")
        raise UnknownSession(f"no session is named {shown(id_)!r}")

    async def load_all(self, ids: Sequence[str], *, likely: bool = False) -> list[Found]:
        """Give what there is of many sessions, in order; what is remembered and still holds is not read anew.

        What is ``likely`` is enough for who ends with a commit: nobody asks whether it holds, if nearly all did lately.
        """
        begun = time.perf_counter()
        remembered = [one for one in map(self._recent.session, ids) if one is not None]
        asked = not (likely and self._trust.justified)
        held = self._has(remembered) if asked else [True] * len(remembered)
        found: dict[str, Found] = {one.id: one for one, holds in zip(remembered, held, strict=True) if holds}
        missing = [id_ for id_ in ids if id_ not in found]
        try:
            if missing:
                loaded = await self._load.all(missing)
                found |= {id_: self._recent.ahead(one) for id_, one in zip(missing, loaded, strict=True)}
        finally:
            asked_store("load", begun)
        if asked:
            self._trust.compare(remembered, found)
        return [found[id_] for id_ in ids]

    def _has(self, sessions: Sequence[Session]) -> Sequence[bool]:
        try:
            return self.store.has_many(sessions) if sessions else []
        except Exception:
            return [False] * len(sessions)  # Loading them says what is wrong.

    async def commit(self, session: Session, expected: int | None, position: Position | None = None) -> bool:
        """Keep a session as used now, if the stored one has revision ``expected``; say whether it was kept.

        ``position``, where it stands, is given away with it.
        """
        (kept,) = await self._keep(self._commit.all, [Commit(session, expected)], [position])
        return kept

    async def commit_all(
        self,
        commits: Sequence[Commit],
        positions: Sequence[Position | None],
        meanwhile: Work | None = None,
    ) -> Sequence[bool]:
        """Do with all sessions that are to be kept, and where they stand, what ``commit`` does with one.

        ``meanwhile`` is called while a thread waits for the disk, if one does; see ``Meanwhile.offer``.
        """
        keep = self._commit.gathered if meanwhile is None or self._crowded else self._commit.all
        if meanwhile is not None:
            self._meanwhile.offer(meanwhile)
        try:
            kept = await self._keep(keep, commits, positions)
        finally:
            if meanwhile is not None:
                self._meanwhile.withdraw(meanwhile)
        self._trust.note(len(kept), kept.count(False))
        return kept

    async def _keep(
        self,
        keep: Callable[[Sequence[Commit]], Awaitable[Sequence[bool]]],
        commits: Sequence[Commit],
        positions: Sequence[Position | None],
    ) -> Sequence[bool]:
        used = now()
        fresh = [self._stamped(commit, used) for commit in commits]
        begun = time.perf_counter()
        try:
            kept = await keep(fresh)
        finally:
            asked_store("commit", begun)
        for commit, position, was_kept in zip(fresh, positions, kept, strict=True):
            if was_kept:
                self._recent.keep(commit.session, position, commit.own + 1)
        return kept

    def _stamped(self, commit: Commit, used: int) -> Commit:
        session, expected, _ = commit
        return Commit(session.stamped(_after(expected), used), expected, self._recent.own(session.id, expected))

    async def add(self, session: Session, position: Position) -> None:
        """Keep a session that is new, and stands at a position; SessionExists if its id is in use."""
        timing = current_timing()
        if timing is not None:
            timing.name_session(session.id)
        if not await self.commit(session, None, position):
            raise SessionExists(f"session {shown(session.id)!r} exists; choose another id, or none to be given one")

    async def touch(self, session: Session, alive: Session) -> None:
        """Keep what a look at a session rebuilt, or, if it was not used for a while, that it was."""
        if _graph(session) != _graph(alive) or now() - session.used > self._touched:
            position, ply = self._recent.take(session) or (None, 0)
            await self.commit(alive, session.revision, position if ply == session.ply else None)

    async def change(self, id_: str, change: Callable[[Session], Awaitable[Change[Answer]]]) -> Answer:
        """Put what ``change`` makes of a session in its place, and give the answer that goes with it.

        Changes of one session take turns, in the order in which they came. Where another process was faster, ``change``
        is called again with the session as it is then. Nothing is cut off by a deadline once a commit has begun.
        """
        await self._turns.take(id_)
        try:
            for _ in range(_ATTEMPTS):
                with within_deadline():
                    session = await self.load(id_)
                    made = await change(session)
                if made.after is None or await self.commit(made.after, session.revision, made.position):
                    return made.answer
        finally:
            self._turns.give_back(id_)
        raise PlyConflict("others kept playing in this session; send the ply you expect", ply=session.ply)

    def take_at_once(self, id_: str) -> bool:
        """Take the turn to change a session if nobody has it; who was given it gives it back."""
        return self._turns.take_at_once(id_)

    def give_back(self, id_: str) -> None:
        """End the turn of a session."""
        self._turns.give_back(id_)

    async def delete(self, id_: str) -> None:
        """Forget a session; UnknownSession if there is none."""
        self._recent.forget(id_)
        begun = time.perf_counter()
        try:
            there = await self._delete(id_)
        finally:
            asked_store("delete", begun)
        if not there:
            raise UnknownSession(f"no session is named {shown(id_)!r}")

    async def scan(self, after: str | None, count: int, prefix: str) -> Page:
        """Give about ``count`` sessions whose ids begin so, without caches; InvalidRequest if ``after`` is no place."""
        begun = time.perf_counter()
        try:
            return await self._on_thread(self.store.scan, after, count, prefix)
        except ValueError as error:
            raise InvalidRequest(f"after: {error}") from None
        except Exception as error:
            raise StoreFailed("the session store failed; ask again") from error
        finally:
            asked_store("scan", begun)

    async def forget(self) -> Forgotten:
        """Let go of some of what has been idle for too long."""
        return await self._on_thread(self.store.forget, now())

    def kept(self) -> Kept | None:
        """Count the sessions; None if the store cannot tell at once."""
        return self.store.kept()

    async def ready(self) -> None:
        """Pass if the store answers; StoreFailed if it does not."""
        await self._load("-")

    async def _on_thread(self, call: Callable[..., Answer], *arguments: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _graph(session: Session) -> str | None:
    """Give the graph that made a session's cache, None if it has none."""
    return None if session.cache is None else session.cache.graph


def _after(revision: int | None) -> int:
    """Give the revision that follows; that of a new session is the time, so that no two of an id share one."""
    return time.time_ns() if revision is None else revision + 1


def now() -> int:
    """Give the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
