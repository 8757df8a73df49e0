"""Reads a session's log and gives the line at any of its plies, and the session after a line was read."""

import asyncio
from array import array
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from model.games import Position, encode_context
from service.distribution import Distribution
from service.errors import BadContext, ModelChanged
from service.line import Line
from service.metrics import sessions_rebuilt
from service.models import Model, Models
from service.names import shown
from service.recent import Recent
from service.sessions import Cache, Session, moves_after, pack_moves

Result = TypeVar("Result")

# So many moves are played on a thread, and others are answered meanwhile.
_LONG = 256


class Lines:
    """Begins lines, resumes them where a session stands, and rebuilds what a session lost."""

    def __init__(self, models: Models, recent: Recent) -> None:
        """Take the models, and what is remembered of running games."""
        self._models, self._recent = models, recent

    def begin(self, model: Model, context: Mapping[str, Any], **options: Any) -> Line:
        """Give the line at the start of a game; BadContext if the context is none of the game's."""
        try:
            ids = encode_context(model.game.context, context)
        except ValueError as error:
            raise BadContext(str(error)) from None
        return Line(model.game, ids, model.game.new_position(), model.engine.initial, **options)

    def likely_model(self, id_: str) -> Model | None:
        """Give the model of a session that is remembered, None if none is, or the model is not there any more."""
        session = self._recent.session(id_)
        return None if session is None else self._models.loaded(session.model, session.version)

    def default_model(self) -> Model:
        """Give the model that serves who names none."""
        return self._models.get(None)

    def fitting(self, session: Session) -> Model | None:
        """Give the model that made a session's cache, None if it has none or the model is not there any more."""
        model = self._models.loaded(session.model, session.version)
        if model is None or session.cache is None or session.cache.graph != model.graph:
            return None
        return model if model.game.vocabulary.fingerprint == session.vocabulary else None

    async def alive(self, session: Session) -> tuple[Model, Session]:
        """Give the model that serves a session, and the session with a cache of that model's.

        The session is given as it is, if its cache fits; else what is missing is computed from its log, through the
        scheduler.
        ModelChanged if the model that serves it now numbers its moves in another way.
        """
        model = await self.model(session)
        if session.cache is not None and session.cache.graph == model.graph:
            if session.cache.ply == session.ply:
                return model, session
            line = self.resume(model, session)
        else:
            line = await self.at(model, session, session.ply)
            sessions_rebuilt.inc()
        await line.run(model.scheduler, model.prefixes)
        return model, self.after(session, model, line)

    async def model(self, session: Session) -> Model:
        """Give the model that serves a session: its own version while that is there, else the newest."""
        model = await self._models.serving(session.model, session.version)
        if model.game.vocabulary.fingerprint != session.vocabulary:
            name, serves = shown(session.id), f"{model.name}/{model.version}"
            has = f"{serves} has another vocabulary than session {name!r} was played with"
            raise ModelChanged(f"{has}: delete the session, or serve {session.model}/{session.version} as it was")
        return model

    async def at(self, model: Model, session: Session, ply: int) -> Line:
        """Give the line from the start of a session's game to one of its plies."""
        line = self.begin(model, session.context)
        await on_thread_if_long(ply, line.replay, session.moves[:ply])
        return line

    def resume(self, model: Model, session: Session, *, take: bool = False) -> Line:
        """Give the line that goes on where a session with a cache stands, from the ply up to which the cache is right.

        With ``take`` the line is for moves to be kept: what is remembered of the position is played on, not a copy.
        """
        cache = session.cache
        assert cache is not None
        position, ply = self._position(session, cache.ply, take=take) or (model.game.new_position(), 0)
        for move in session.moves[ply : cache.ply]:
            position.play(move)
        known = Distribution(position.legal(), cache.next)
        ids = encode_context(model.game.context, session.context)
        line = Line(model.game, ids, position, cache.state, known, cache.ply)
        line.replay(session.moves[cache.ply :])
        return line

    def _position(self, session: Session, latest: int, *, take: bool) -> tuple[Position, int] | None:
        found = self._recent.take(session) if take else self._recent.position(session)
        if found is None or found[1] > latest:
            return None
        return found if take else (found[0].copy(), found[1])

    def give_back(self, session: Session, line: Line) -> None:
        """Remember the position of a line in which nothing was played after all."""
        if line.ply + len(line.moves) == session.ply:
            self._recent.keep(session, line.position)

    def after(self, session: Session, model: Model, line: Line) -> Session:
        """Give a session after a line that was read: it resumed where the session stood, or began at the start."""
        moves, surprisal = pack_moves(line.moves), array("f", line.surprisal())
        if line.known is not None:
            assert session.cache is not None
            moves = moves_after(session.moves, line.moves[session.ply - line.ply :])
            surprisal = session.cache.surprisal + surprisal
        cache = Cache(model.graph, surprisal, line.predictions[-1].log_p, line.state)
        return session.later(model.version, moves, cache)


async def on_thread_if_long(plies: int, function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function, on a thread if it has so much to do that others would have to wait for it."""
    return await asyncio.to_thread(function, *arguments) if plies > _LONG else function(*arguments)
