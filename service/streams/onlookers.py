"""Reads the sessions that somebody watches, once for all who do, and gives each what it has not seen yet.

What is told is the difference between what an onlooker saw last and what the store has now. So nothing depends on
hearing of every write: hearing of one only makes it quicker.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from itertools import count

from service.errors import Draining, Problem, SessionExpired, UnknownSession
from service.keeper import Keeper
from service.lines import Lines
from service.stopping import Stopping
from service.streams.view import View

_log = logging.getLogger("nextply")
# Seconds between two looks at a session of which the store cannot tell, or which it has just failed to give.
_BEAT = 0.1
# Looks in one beat at most, so that watching never keeps others from the store; more sessions take turns.
_LOOKS = 100
# A session of which the store tells is looked at every so many beats all the same.
_ROUNDS = 50
# Of a problem that is over sooner or later.
_PASSING = (429, 503)


class End(Enum):
    """Why there is nothing more to see; the value is told, if there is one."""

    DELETED = "deleted"
    EXPIRED = "expired"
    ASK_AGAIN = None
    """The service stops, or cannot serve the session as it was; who asks again hears more."""


class Watched:
    """One session and what is to be seen of it now."""

    def __init__(self, id_: str) -> None:
        """Begin with nothing seen."""
        self.id, self.onlookers = id_, 0
        self.now: View | End | None = None
        self.woken = asyncio.Event()
        self.looking = asyncio.Lock()
        self.following: asyncio.Task[None] | None = None
        self.leave: Callable[[], None] | None = None
        """Lets the store tell no more of writes; None where it cannot tell."""
        self.heard_of = False
        """Whether the store tells of writes, and gave the session when it was asked last."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Give a reason to look, from any thread."""
        self._loop.call_soon_threadsafe(self.woken.set)

    def show(self, now: View | End) -> None:
        """Let all see; after an end comes nothing."""
        if not isinstance(self.now, End):
            self.now = now
            self._changed.set()
            self._changed = asyncio.Event()

    async def after(self, seen: View | None) -> View | End:
        """Wait for something else than was ``seen``; who comes late gets the newest, not all that was between."""
        while self.now is seen or self.now is None:
            await self._changed.wait()
        return self.now


class Onlookers:
    """All who watch sessions in this process. It has no tasks while there is nobody."""

    def __init__(self, keeper: Keeper, lines: Lines, stopping: Stopping) -> None:
        """Take the parts, which belong to the caller."""
        self._keeper, self._lines, self._stopping = keeper, lines, stopping
        self._watched: dict[str, Watched] = {}
        self._beating: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, id_: str) -> AsyncIterator[Watched]:
        """Watch a session while the block runs, and see it as it stands; a Problem if it cannot be seen now.

        Watching does not count as use: a session can expire while somebody looks.
        """
        if self._stopping.begun:
            raise Draining("the service is stopping")
        watched = self._watched.get(id_)
        if watched is None or isinstance(watched.now, End):
            watched = self._watched[id_] = Watched(id_)
        self._enter(watched)
        try:
            await self._look(watched)
            yield watched
        finally:
            self._leave(watched)

    def _enter(self, watched: Watched) -> None:
        watched.onlookers += 1
        if watched.following is None:
            watched.leave = self._keeper.store.watch(watched.id, watched.wake)
            watched.following = asyncio.create_task(self._follow(watched))
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    def _leave(self, watched: Watched) -> None:
        watched.onlookers -= 1
        if not watched.onlookers and watched.following is not None:
            watched.following.cancel()
            if watched.leave is not None:
                watched.leave()
            if self._watched.get(watched.id) is watched:
                del self._watched[watched.id]
        if not self._watched and self._beating is not None:
            self._beating.cancel()
            self._beating = None

    async def _look(self, watched: Watched) -> None:
        """Show a session as it is in the store now."""
        async with watched.looking:
            session = await self._keeper.load(watched.id)
            before = watched.now if isinstance(watched.now, View) else None
            if before is None or before.revision != session.revision:
                model, alive = await self._lines.alive(session)
                watched.show(View.of(session, alive, model, before))

    async def _follow(self, watched: Watched) -> None:
        """Look at a session whenever there is a reason to, until it has come to an end."""
        while not isinstance(watched.now, End):
            await watched.woken.wait()
            watched.woken.clear()
            watched.heard_of = await self._looked(watched) and watched.leave is not None

    async def _looked(self, watched: Watched) -> bool:
        """Look again, and say whether that can be relied on; what is in the way passes, or is the end."""
        try:
            await self._look(watched)
        except UnknownSession:
            watched.show(End.DELETED)
        except SessionExpired:
            watched.show(End.EXPIRED)
        except Problem as problem:
            if problem.status in _PASSING:
                return False
            watched.show(End.ASK_AGAIN)
        except Exception:
            _log.exception("session %r could not be watched", watched.id)
            watched.show(End.ASK_AGAIN)
        return True

    async def _beat(self) -> None:
        """Give reasons to look, and end everything when the service stops."""
        for beat in count():
            with suppress(TimeoutError):
                async with asyncio.timeout(_BEAT):
                    await self._stopping.wait()
                    break
            quiet = [watched for watched in self._watched.values() if not watched.heard_of]
            heard_of = [watched for watched in self._watched.values() if watched.heard_of]
            for watched in _share(quiet, beat, 1) + _share(heard_of, beat, _ROUNDS):
                watched.woken.set()
        for watched in self._watched.values():
            watched.show(End.ASK_AGAIN)


def _share(watched: list[Watched], beat: int, rounds: int) -> list[Watched]:
    """Give those whose turn it is, if all have theirs within so many beats, or more if there are many."""
    rounds = max(rounds, -(-len(watched) // _LOOKS))
    return watched[beat % rounds :: rounds]
