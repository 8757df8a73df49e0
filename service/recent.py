"""Remembers the sessions that this process served last, each with its position, so that neither is read again.

What is remembered is a cache of the store: whoever uses it asks the store whether it still holds.
"""

from collections import OrderedDict

from model.games import Position
from service.sessions import Session


class Recent:
    """The sessions most recently kept, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        """Begin empty."""
        self._limit = limit
        self._kept: OrderedDict[str, tuple[Session, Position | None]] = OrderedDict()

    def session(self, id_: str) -> Session | None:
        """Give a session as it was remembered last."""
        kept = self._kept.get(id_)
        return None if kept is None else kept[0]

    def position(self, session: Session) -> Position | None:
        """Give the position at which a session stands, not to be played on; None if it is not remembered."""
        kept, position = self._kept.get(session.id, (None, None))
        return position if kept is session else None

    def take(self, session: Session) -> Position | None:
        """Give the position at which a session stands, to be played on: it is not remembered any more."""
        position = self.position(session)
        if position is not None:
            self._kept[session.id] = session, None
        return position

    def keep(self, session: Session, position: Position | None) -> None:
        """Remember a session as the store has it, and where it stands."""
        self._kept[session.id] = session, position
        self._kept.move_to_end(session.id)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def forget(self, id_: str) -> None:
        """Remember nothing of a session."""
        self._kept.pop(id_, None)
