"""One request's whole way: moves are checked, the network reads them, the session is kept, the answer is written.

A single move takes a shorter one: from the socket (`service.shortcut`) to the batch of such moves (`service.plays`).
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from service import answers, requests, schemas
from service.deadline import within_deadline
from service.errors import BadContext, BadMove, PlyConflict, Problem
from service.keeper import Change, Keeper, now
from service.limits import check_moves, check_sequences
from service.line import Line
from service.lines import Lines, on_thread_if_long
from service.models import Model, Models
from service.plays import Plays, expected
from service.sessions import Session, pack_moves
from service.settings import Settings

_log = logging.getLogger("nextply")


class Predictor:
    """Joins the parts: games check moves, schedulers run networks, the keeper keeps sessions."""

    def __init__(self, models: Models, lines: Lines, keeper: Keeper, plays: Plays, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._models, self._lines, self._keeper, self._plays = models, lines, keeper, plays
        self._settings = settings

    async def predict(self, request: requests.PredictRequest) -> schemas.PredictAnswer:
        """Answer whole games; nothing is kept."""
        model = self._models.get(request.model)
        sequences = [(s, {}) if isinstance(s, list) else (s.moves, s.context) for s in request.sequences]
        plies = check_sequences([len(moves) for moves, _ in sequences], self._settings)
        with within_deadline():
            lines = await on_thread_if_long(plies, self._read, model, request, sequences)
            every = request.score or request.each_ply
            await _all(line.run(model.scheduler, model.prefixes, every=every) for line in lines)
            predictions = await on_thread_if_long(plies, answers.predictions, request, lines)
        return {"model": answers.model_id(model), "predictions": predictions}

    async def create(self, request: requests.CreateRequest) -> schemas.CreateAnswer:
        """Open a session; SessionExists if its id is in use."""
        model = self._models.get(request.model)
        check_moves(len(request.moves), self._settings)
        new = Session(
            id=request.session,
            model=model.name,
            version=model.version,
            vocabulary=model.game.vocabulary.fingerprint,
            context={name: value for name, value in request.context.items() if value is not None},
            moves=pack_moves([]),
            revision=0,
            used=now(),
        )
        with within_deadline():
            line = self._lines.begin(model, request.context)
            await on_thread_if_long(len(request.moves), line.play, request.moves)
            await line.run(model.scheduler, model.prefixes)
        session = self._lines.after(new, model, line)
        answer = answers.created(session, model, line, request.top_k)
        await self._keeper.add(session, line.position)
        return answer

    async def play(self, id_: str, request: requests.MovesRequest) -> schemas.MovesAnswer:
        """Play moves in a session, all or none; PlyConflict if it is not at the ply that the caller believes."""
        return await self._plays.play(id_, request) or await self._play(id_, request)

    async def _play(self, id_: str, request: requests.MovesRequest) -> schemas.MovesAnswer:
        async def change(session: Session) -> Change[schemas.MovesAnswer]:
            if request.ply not in (None, session.ply):
                return Change(None, await self._repeat(session, request))
            model, alive = await self._lines.alive(session)
            line = await self._played(model, alive, request, take=len(request.moves) == 1)
            after = self._lines.after(alive, model, line)
            answer = answers.played(session, model, line, len(request.moves), request.top_k)
            return Change(after, answer, line.position)

        return await self._keeper.change(id_, change)

    async def steps(self, request: requests.StepsRequest) -> schemas.StepsAnswer:
        """Play moves in many sessions; each item succeeds or fails on its own, those of one session in their order."""
        check_sequences([len(step.moves) for step in request.steps], self._settings)
        steps = request.steps
        given = await self._plays.play_all(steps, request.top_k)
        left = [number for number, answer in enumerate(given) if answer is None]
        alone = (self._play(steps[number].session, _alone(steps[number], request.top_k)) for number in left)
        late = await asyncio.gather(*alone, return_exceptions=True)
        for number, answer in zip(left, late, strict=True):
            given[number] = expected(answer)
        # Of a batch that failed every item has the same cause.
        for cause, answer in {one.__cause__: one for one in given if isinstance(one, Problem)}.items():
            if cause is not None:
                _log.error("%s", answer, exc_info=cause)
        return {"results": [answers.step(step.session, answer) for step, answer in zip(steps, given, strict=True)]}

    async def peek(self, id_: str, request: requests.MovesRequest) -> schemas.MovesAnswer:
        """Answer moves as if they were played; nothing of them is kept."""
        model, session, alive = await self._looked_at(id_)
        if request.ply not in (None, session.ply):
            raise PlyConflict.at(session.id, session.ply, believed=request.ply)
        with within_deadline():
            line = await self._played(model, alive, request)
        return answers.played(session, model, line, len(request.moves), request.top_k)

    async def get(self, id_: str, top_k: int) -> schemas.SessionAnswer:
        """Give a session as it stands."""
        model, session, alive = await self._looked_at(id_)
        line = self._lines.resume(model, alive)
        await line.run(model.scheduler, model.prefixes)
        return answers.session(session, alive, model, line, top_k)

    async def delete(self, id_: str) -> None:
        """Forget a session; UnknownSession if there is none."""
        await self._keeper.delete(id_)

    async def _looked_at(self, id_: str) -> tuple[Model, Session, Session]:
        """Give the model that serves a session, the session as it was kept, and as it is with its cache."""
        with within_deadline():
            session = await self._keeper.load(id_)
            model, alive = await self._lines.alive(session)
        await self._keeper.touch(session, alive)
        return model, session, alive

    async def _played(
        self, model: Model, session: Session, request: requests.MovesRequest, *, take: bool = False
    ) -> Line:
        """Give the line of a request's moves from where a session with a cache stands, read; see ``Lines.resume``."""
        check_moves(session.ply + len(request.moves), self._settings)
        line = self._lines.resume(model, session, take=take)
        try:
            await on_thread_if_long(len(request.moves), line.play, request.moves)
        except BadMove:
            self._lines.give_back(session, line)
            raise
        await line.run(model.scheduler, model.prefixes)
        return line

    async def _repeat(self, session: Session, request: requests.MovesRequest) -> schemas.MovesAnswer:
        """Answer moves that were played already as they were answered then; PlyConflict if others were."""
        model = await self._lines.model(session)
        before = request.ply or 0
        after = before + len(request.moves)
        if after > session.ply:
            raise PlyConflict.at(session.id, session.ply, believed=before)
        line = await self._lines.at(model, session, before)
        try:
            line.play(request.moves)
        except BadMove:
            raise PlyConflict.at(session.id, session.ply, believed=before) from None
        if pack_moves(line.moves) != session.moves[:after]:
            raise PlyConflict.at(session.id, session.ply, believed=before)
        await line.run(model.scheduler, model.prefixes)
        return answers.played(session, model, line, len(request.moves), request.top_k)

    def _read(
        self,
        model: Model,
        request: requests.PredictRequest,
        sequences: Sequence[tuple[list[str], Mapping[str, Any]]],
    ) -> list[Line]:
        """Check every sequence of a request; the first that is wrong is named, and nothing is queued."""
        lines = []
        for number, (moves, context) in enumerate(sequences):
            try:
                line = self._lines.begin(model, context, legal_only=request.legal_only, trace=request.each_ply)
            except BadContext as error:
                raise BadContext(f"sequence {number}: {error}", sequence=number) from None
            line.play(moves, sequence=number)
            lines.append(line)
        return lines


def _alone(step: requests.Step, top_k: int) -> requests.MovesRequest:
    """Give one step of many as a request of its own, which was checked as part of the whole."""
    return requests.MovesRequest.model_construct(moves=step.moves, ply=step.ply, top_k=top_k)


async def _all(runs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all, or, if one fails, give up the others: nobody waits for them any more."""
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
