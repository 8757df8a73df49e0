"""Remembers the sessions that this process served last, each with its position, so that neither is read again.

What is remembered is a cache of the store: whoever uses it asks the store whether it still holds. A position is still
of use when another process has played on.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

from model.games import Position
from service.sessions import Found, Session


class _Kept(NamedTuple):
    session: Session
    position: Position | None
    own: int


class Recent:
    """The sessions most recently kept, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self._limit = limit
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def session(self, id_: str) -> Session | None:
        """Give a session as it was remembered last."""
        kept = self._kept.get(id_)
        return None if kept is None else kept.session

    def position(self, session: Session) -> tuple[Position, int] | None:
        """Give a position on the way to where a session stands, not to be played on, and its ply."""
        kept = self._kept.get(session.id)
        if kept is None or kept.position is None or not _leads_to(kept.session, session):
            return None
        return kept.position, kept.session.ply

    def take(self, session: Session) -> tuple[Position, int] | None:
        """Give a position on the way to where a session stands, to be played on: it is not remembered any more."""
        found = self.position(session)
        if found is not None:
            kept = self._kept[session.id]
            # Twice as fast as ``_replace``, and done with every move.
            self._kept[session.id] = _Kept(kept.session, None, kept.own)
        return found

    def ahead(self, found: Found) -> Found:
        """Give what a store gave, with the cache that is remembered if this is further on."""
        if not isinstance(found, Session) or found.cache is None or found.cache.ply == found.ply:
            return found
        kept = self.session(found.id)
        if kept is None or kept.cache is None or kept.cache.ply <= found.cache.ply or not _leads_to(kept, found):
            return found
        return replace(found, cache=kept.cache)

    def own(self, id_: str, revision: int | None) -> int:
        """Say how many changes in a row were made here, up to a session's revision."""
        kept = self._kept.get(id_)
        return 0 if kept is None or kept.session.revision != revision else kept.own

    def keep(self, session: Session, position: Position | None, own: int = 0) -> None:
        """Remember a session as the store has it, where it stands, and how many changes in a row were made here."""
        self._kept[session.id] = _Kept(session, position, own)
        self._kept.move_to_end(session.id)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def forget(self, id_: str) -> None:
        """Remember nothing of a session."""
        self._kept.pop(id_, None)


def _leads_to(kept: Session, session: Session) -> bool:
    """Say whether one is the other, or what came of it when another process played on."""
    if kept is session:
        return True
    same = (kept.model, kept.version, kept.vocabulary) == (session.model, session.version, session.vocabulary)
    return same and kept.moves == session.moves[: kept.ply]
