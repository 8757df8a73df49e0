"""Reads what was played in sessions and goes back in it, branches it, lists it, and carries it to other services."""

import asyncio
from dataclasses import replace

from service import answers, requests, schemas
from service.deadline import within_deadline
from service.errors import BadBlob, BadMove, ModelChanged, NoGates, PlyConflict, SessionExists, StateMismatch
from service.keeper import Change, Keeper, now
from service.limits import check_moves
from service.line import Line
from service.lines import Lines, on_thread_if_long
from service.longest import longest
from service.models import Model
from service.names import shown
from service.sessions import Session, blob
from service.settings import Settings

# How often one request for a listing asks the store, however little of what it gives is asked for, and for how many.
_ASKED = 32
_PAGE = 500


class History:
    """What can be done with a session beyond playing in it."""

    def __init__(self, lines: Lines, keeper: Keeper, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._lines, self._keeper, self._settings = lines, keeper, settings

    async def takeback(self, id_: str, request: requests.TakebackRequest) -> schemas.StandsAnswer:
        """Undo the moves after a ply; PlyConflict if the session has not come so far, or is not where it is believed.

        A session that stands at the ply already stays as it is, so a request can be sent again.
        """

        async def change(session: Session) -> Change[schemas.StandsAnswer]:
            if request.ply is not None and session.ply not in (request.ply, request.to_ply):
                raise PlyConflict.at(session.id, session.ply, believed=request.ply)
            model, after, line = await self._back(session, request.to_ply)
            answer = answers.stands(session, after, model, line, request.top_k)
            return Change(None if after is session else after, answer, line.position)

        return await self._keeper.change(id_, change)

    async def fork(self, id_: str, request: requests.ForkRequest) -> schemas.CreateAnswer:
        """Open a session that shares another's moves up to a ply; the other stays as it is."""
        with within_deadline():
            session = await self._keeper.load(id_)
            at_ply = session.ply if request.at_ply is None else request.at_ply
            model, past, line = await self._back(session, at_ply)
        forked = replace(past, id=request.session)
        answer = answers.created(forked, model, line, request.top_k)
        await self._keeper.add(forked, line.position)
        return answer

    async def _back(self, session: Session, ply: int) -> tuple[Model, Session, Line]:
        """Give the model that serves a session, the session as it was at a ply, and the line that ends there, read."""
        if ply > session.ply:
            raise PlyConflict(f"session {shown(session.id)!r} is at ply {session.ply}, before {ply}", ply=session.ply)
        if ply == session.ply:
            model, alive = await self._lines.alive(session)
            line = self._lines.resume(model, alive)
            await line.run(model.scheduler, model.prefixes)
            return model, alive, line
        model = await self._lines.model(session)
        line = await self._lines.at(model, session, ply)
        await line.run(model.scheduler, model.prefixes)
        return model, self._lines.after(session, model, line), line

    async def explain(self, id_: str, units: int = 0) -> schemas.ExplainAnswer:
        """Give what the gates did at every ply of a session; NoGates if its model was exported without them.

        With ``units`` also what so many units of the memory held.
        """
        with within_deadline():
            session = await self._keeper.load(id_)
            model = await self._lines.model(session)
            if model.gates is None:
                has = f"{model.name}/{model.version} was exported without its gates"
                raise NoGates(f"{has}: export it again to see them")
            line = await self._lines.at(model, session, session.ply)
            read = await model.gates.along(line, shows=units > 0)
            held: schemas.Held = {}
            if units:
                held["memory"] = await asyncio.to_thread(longest, model.manifest.state, read.states, units)
            answer = await on_thread_if_long(session.ply, answers.explained, session, model, read.answers, held)
        await self._keeper.touch(session, session)
        return answer

    async def export(self, id_: str) -> bytes:
        """Give a session, with its state, as one blob."""
        with within_deadline():
            session = await self._keeper.load(id_)
            _, alive = await self._lines.alive(session)
        await self._keeper.touch(session, alive)
        return blob.pack(alive)

    async def restore(self, id_: str, body: bytes, *, rebuild: bool) -> tuple[bool, schemas.CreateAnswer]:
        """Open a session from a blob, whose moves are played anew: they must be legal and give the state it holds.

        With ``rebuild`` the state in the blob does not matter. BadBlob, BadMove, BadContext, ModelChanged or
        StateMismatch say what does not fit, SessionExists that another session has the id. The same blob can be sent
        again; what comes first says whether a session was made.
        """
        try:
            session = replace(blob.unpack(body), id=id_)
        except ValueError as error:
            raise BadBlob(str(error)) from None
        check_moves(session.ply, self._settings)
        with within_deadline():
            model = await self._lines.model(session)
            line = self._lines.begin(model, session.context)
            await on_thread_if_long(session.ply, _replay_legal, line, session)
            await line.run(model.scheduler, model.prefixes)
        restored = self._lines.after(session, model, line)
        if not rebuild:
            _check_state(session, restored)
        made = await self._keeper.commit(restored, expected=None)
        if not made:
            there = await self._keeper.load(id_)
            if (there.model, there.context, there.moves) != (restored.model, restored.context, restored.moves):
                raise SessionExists(f"another session is named {shown(id_)!r}")
        return made, answers.created(restored, model, line, top_k=5)

    async def listed(self, query: requests.SessionsQuery) -> schemas.SessionsAnswer:
        """Give a page of the sessions that fit; it may hold fewer than asked for though there are more to come."""
        sessions: list[schemas.SessionSummary] = []
        at, after = now(), query.after
        for _ in range(_ASKED):
            page = await self._keeper.scan(after, min(_PAGE, query.limit - len(sessions)), query.prefix)
            sessions += [answers.summary(session, at) for session in page.sessions if _fits(session, query, at)]
            after = page.after
            if after is None or len(sessions) >= query.limit:
                break
        return {"sessions": sessions, "after": after}


def _fits(session: Session, query: requests.SessionsQuery, at: int) -> bool:
    name, _, version = (query.model or session.model).partition("/")
    return (
        session.model == name
        and version in ("", session.version)
        and session.ply >= query.min_ply
        and at - session.used >= query.min_idle * 1000
    )


def _replay_legal(line: Line, session: Session) -> None:
    """Play the moves of a blob; BadMove names the first that may not be played."""
    for index, move in enumerate(session.moves):
        legal = line.position.legal()
        if move not in (range(len(line.game.vocabulary)) if legal is None else legal):
            raise BadMove(f"move {index} of the blob may not be played there", index=index)
        line.replay([move])


def _check_state(session: Session, restored: Session) -> None:
    """Pass a blob whose cache is, to the bit, what its moves give here."""
    anyway = "send it with ?rebuild=true to keep its moves alone"
    if session.cache is None:
        return
    assert restored.cache is not None
    if session.cache.graph != restored.cache.graph:
        serves = f"{restored.model}/{restored.version} is another graph than the blob's state is from"
        raise ModelChanged(f"{serves}: {anyway}")
    if session.cache.pack(log := restored.pack_log()) != restored.cache.pack(log):
        raise StateMismatch(f"the blob's state is not what its moves give here: {anyway}")
