"""One request's whole way: moves are checked, the network reads them, the session is kept, the answer is written."""

import asyncio
import secrets
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model.games import encode_context
from service import answers, schemas
from service.distribution import Distribution
from service.errors import BadContext, BadMove, ModelChanged, PlyConflict, SessionExists, UnknownSession
from service.grouping import Group
from service.limits import check_moves, check_sequences
from service.line import Line
from service.models import Model, Models
from service.positions import Positions
from service.sessions import Commit, Session, SessionStore
from service.settings import Settings

# A request this long is prepared on a thread, so that others are answered meanwhile.
_LONG = 256
# How often moves are tried anew when other processes play in the same session at the same time.
_ATTEMPTS = 16


class Predictor:
    """Joins the parts: games check moves, schedulers run networks, the store keeps sessions."""

    def __init__(self, models: Models, store: SessionStore, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._models, self._settings = models, settings
        self._positions = Positions(settings.positions)
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._load = Group(store.load_many, self._store_thread)
        self._commit = Group(store.commit_many, self._store_thread)
        self._delete = Group(store.delete_many, self._store_thread)

    def close(self) -> None:
        """Finish what the store is doing."""
        self._store_thread.shutdown(wait=True)

    async def predict(self, request: schemas.PredictRequest) -> schemas.PredictAnswer:
        """Answer whole games; nothing is kept."""
        model = self._models.get(request.model)
        sequences = [(s, {}) if isinstance(s, list) else (s.moves, s.context) for s in request.sequences]
        plies = check_sequences([len(moves) for moves, _ in sequences], self._settings)
        lines = await _on_thread_if(plies > _LONG, self._lines, model, request, sequences)
        every = request.score or request.each_ply
        await asyncio.gather(*(line.run(model.scheduler, every=every) for line in lines))
        predictions = await _on_thread_if(plies > _LONG, answers.predictions, request, lines)
        return {"model": answers.model_id(model), "predictions": predictions}

    async def create(self, request: schemas.CreateRequest) -> schemas.CreateAnswer:
        """Open a session; SessionExists if its id is in use."""
        model = self._models.get(request.model)
        check_moves(len(request.moves), self._settings)
        line = self._begin(model, request.context)
        await _on_thread_if(len(request.moves) > _LONG, line.play, request.moves)
        await line.run(model.scheduler)
        session = Session(
            id=request.session or secrets.token_urlsafe(16),
            model=model.name,
            version=model.version,
            graph=model.graph,
            vocabulary=model.game.vocabulary.fingerprint,
            context={name: value for name, value in request.context.items() if value is not None},
            moves=tuple(line.moves),
            surprisal=np.array(line.surprisal(), np.float32),
            next=line.predictions[-1].log_p,
            state=line.state,
            revision=time.time_ns(),
        )
        if not await self._commit(Commit(session, expected=None)):
            raise SessionExists(f"session {session.id!r} exists; choose another id, or none to be given one")
        self._positions.advance(model.game, (), session.moves, line.position)
        following = answers.likeliest(line.position, line.predictions[-1], request.top_k)
        return {"session": session.id, "model": answers.model_id(model), "ply": session.ply, "next": following}

    async def play(self, id_: str, request: schemas.MovesRequest) -> schemas.MovesAnswer:
        """Play moves in a session, all or none; PlyConflict if it is not at the ply that the caller believes.

        Requests for one session take turns, in the order in which they came.
        """
        async with self._turns.setdefault(id_, asyncio.Lock()):
            return await self._play(id_, request)

    async def _play(self, id_: str, request: schemas.MovesRequest) -> schemas.MovesAnswer:
        for _ in range(_ATTEMPTS):
            session = await self._session(id_)
            if request.ply not in (None, session.ply):
                return await self._repeat(session, request)
            check_moves(session.ply + len(request.moves), self._settings)
            model = self._serving(session)
            line = self._resume(model, session)
            await _on_thread_if(len(request.moves) > _LONG, line.play, request.moves)
            await line.run(model.scheduler)
            after = _extended(session, model, line)
            if await self._commit(Commit(after, expected=session.revision)):
                self._positions.advance(model.game, session.moves, after.moves, line.position)
                return answers.played(after, session.ply, after.ply, line, request.top_k)
        raise PlyConflict("others kept playing in this session; send the ply you expect", ply=session.ply)

    async def get(self, id_: str, top_k: int) -> schemas.SessionAnswer:
        """Give a session as it stands."""
        session = await self._session(id_)
        model = self._serving(session)
        line = self._resume(model, session)
        await line.run(model.scheduler)
        return {
            "session": session.id,
            "model": answers.model_id(model),
            "context": session.context,
            "ply": session.ply,
            "moves": answers.written_moves(model.game.new_position(), session.moves),
            "surprisal": _surprisal(session, line).tolist(),
            "next": answers.likeliest(line.position, line.predictions[-1], top_k),
        }

    async def delete(self, id_: str) -> None:
        """Forget a session; UnknownSession if there is none."""
        if not await self._delete(id_):
            raise _unknown(id_)

    async def ready(self) -> None:
        """Pass if the store answers; StoreFailed if it does not."""
        await self._load("-")

    async def _session(self, id_: str) -> Session:
        session = await self._load(id_)
        if session is None:
            raise _unknown(id_)
        return session

    def _serving(self, session: Session) -> Model:
        """Give the model that serves a session; ModelChanged if it numbers its moves in another way."""
        model = self._models.serving(session.model, session.version)
        if model.game.vocabulary.fingerprint != session.vocabulary:
            has = f"{model.name}/{model.version} has another vocabulary than session {session.id!r} was played with"
            raise ModelChanged(f"{has}: delete the session, or serve {session.model}/{session.version} as it was")
        return model

    async def _repeat(self, session: Session, request: schemas.MovesRequest) -> schemas.MovesAnswer:
        """Answer moves that were played already as they were answered then; PlyConflict if others were."""
        model = self._serving(session)
        before = request.ply or 0
        after = before + len(request.moves)
        conflict = PlyConflict(f"session {session.id!r} is at ply {session.ply}, not {before}", ply=session.ply)
        if after > session.ply:
            raise conflict
        repeated = self._begin(model, session.context)
        repeated.replay(session.moves[:before])
        try:
            repeated.play(request.moves)
        except BadMove:
            raise conflict from None
        if tuple(repeated.moves) != session.moves[:after]:
            raise conflict
        await repeated.run(model.scheduler)
        return answers.played(session, before, after, repeated, request.top_k)

    def _begin(self, model: Model, context: Mapping[str, Any], **options: Any) -> Line:
        """Give the line at the start of a game; BadContext if the context is none of the game's."""
        try:
            ids = encode_context(model.game.context, context)
        except ValueError as error:
            raise BadContext(str(error)) from None
        return Line(model.game, ids, model.game.new_position(), model.engine.initial, **options)

    def _resume(self, model: Model, session: Session) -> Line:
        """Give the line where a session stands; it is read anew if its state is another graph's."""
        if session.graph != model.graph:
            line = self._begin(model, session.context)
            line.replay(session.moves)
            return line
        position = self._positions.at(model.game, session.moves)
        known = Distribution(position.legal(), session.next)
        ids = encode_context(model.game.context, session.context)
        return Line(model.game, ids, position, session.state, known)

    def _lines(
        self,
        model: Model,
        request: schemas.PredictRequest,
        sequences: Sequence[tuple[list[str], Mapping[str, Any]]],
    ) -> list[Line]:
        """Check every sequence of a request; the first that is wrong is named, and nothing is queued."""
        lines = []
        for number, (moves, context) in enumerate(sequences):
            try:
                line = self._begin(model, context, legal_only=request.legal_only, trace=request.each_ply)
            except BadContext as error:
                raise BadContext(f"sequence {number}: {error}", sequence=number) from None
            line.play(moves, sequence=number)
            lines.append(line)
        return lines


async def _on_thread_if(long: bool, function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments) if long else function(*arguments)


def _unknown(id_: str) -> UnknownSession:
    return UnknownSession(f"no session is named {id_!r}")


def _extended(session: Session, model: Model, line: Line) -> Session:
    """Give the session after a line that began where it stood, or, if it was read anew, at the start."""
    return replace(
        session,
        version=model.version,
        graph=model.graph,
        moves=tuple(line.moves) if line.known is None else session.moves + tuple(line.moves),
        surprisal=_surprisal(session, line),
        next=line.predictions[-1].log_p,
        state=line.state,
        revision=session.revision + 1,
    )


def _surprisal(session: Session, line: Line) -> npt.NDArray[np.float32]:
    """Give the surprisal of every move of a session and of the line that goes on from it, or began it anew."""
    played = np.array(line.surprisal(), np.float32)
    return played if line.known is None else np.concatenate([session.surprisal, played])
