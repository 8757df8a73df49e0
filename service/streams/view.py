"""Reads a session as it stands and gives what an onlooker sees of it, and what has changed since an earlier look."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from model.games import Position
from service import answers, schemas
from service.distribution import Distribution
from service.models import Model
from service.names import shown
from service.sessions import Session


class Event(NamedTuple):
    """Something that onlookers are told."""

    kind: str
    ply: int
    data: schemas.SessionAnswer | schemas.ChangeAnswer


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A session at one revision, kept small: there may be one for every onlooker who is slow."""

    id: str
    revision: int
    graph: str
    model: schemas.ModelId
    context: dict[str, Any]
    ids: "array[int]"
    moves: list[str]
    """Canonical, one for each of ``ids``."""
    surprisal: "array[float]"
    position: Position
    """Where the moves lead; not to be played on."""
    following: Distribution
    _told: dict[tuple[str, int, int], Event] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session, alive: Session, model: Model, before: "View | None") -> "View":
        """See a session as it was kept, and as it is with its cache; ``before`` spares the work that was done then."""
        assert alive.cache is not None
        if before is not None and before.graph == model.graph and session.moves[: len(before.ids)] == before.ids:
            moves, position = before.moves, before.position.copy()
        else:
            moves, position = [], model.game.new_position()
        written = answers.written_moves(position, session.moves[len(moves) :])
        return cls(
            id=session.id,
            revision=session.revision,
            graph=model.graph,
            model=answers.model_id(model),
            context=session.context,
            ids=session.moves,
            moves=moves + written,
            surprisal=alive.cache.surprisal,
            position=position,
            following=Distribution(position.legal(), alive.cache.next),
        )

    def whole(self, top_k: int) -> Event:
        """Tell of the session as it stands."""
        return self._tell("session", 0, top_k)

    def since(self, seen: "View", top_k: int) -> Event | None:
        """Tell what somebody has missed who saw the session last as ``seen``; None if nothing that matters."""
        if (seen.graph, seen.model, seen.context) != (self.graph, self.model, self.context):
            return self.whole(top_k)
        if seen.ids == self.ids:
            return None
        kept = _common(seen.ids, self.ids)
        return self._tell("moves" if kept == len(seen.ids) else "takeback", kept, top_k)

    def _tell(self, kind: str, kept: int, top_k: int) -> Event:
        """Tell somebody who has the first ``kept`` moves; most of those who look have seen the same before."""
        event = self._told.get((kind, kept, top_k))
        if event is None:
            data: schemas.SessionAnswer | schemas.ChangeAnswer = {
                "session": shown(self.id),
                "model": self.model,
                "ply": len(self.ids),
                "moves": self.moves[kept:],
                "surprisal": self.surprisal[kept:].tolist(),
                "next": answers.likeliest(self.position, self.following, top_k),
            }
            if kind == "session":
                data = {**data, "context": self.context}
            event = self._told[kind, kept, top_k] = Event(kind, len(self.ids), data)
        return event


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the moves with which two games begin alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((ply for ply, (a, b) in pairs if a != b), min(len(one), len(other)))
