"""Reads the single moves that come at about the same time and plays them as one batch, from sessions to answers.

Most requests are one more move of a running session. Done together such moves need no task, no load, no place in a
queue and no commit for each. What is not so plain gets no answer here and takes the way of all other requests: so
nothing is decided here that is not decided there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service import answers, schemas
from service.deadline import Block, within_deadline
from service.errors import BadMove, DeadlinePassed, EngineFailed, Problem
from service.keeper import Keeper
from service.line import Line
from service.lines import Lines
from service.models import Model
from service.requests import MovesRequest
from service.sessions import Commit, Found, Session
from service.settings import Settings
from service.timing import Timing, current_timing, share_timing


def _future() -> "asyncio.Future[schemas.MovesAnswer | None]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class _Play:
    """One move that somebody asked for and waits for until the deadline."""

    session: str
    request: MovesRequest
    waiting: Block
    answer: "asyncio.Future[schemas.MovesAnswer | None]" = field(default_factory=_future)
    timing: Timing | None = field(default_factory=current_timing)


@dataclass(slots=True, eq=False)
class _Taken:
    """A move that is being played: the session before it, its model, and the line with it."""

    play: _Play
    session: Session
    model: Model
    line: Line


class Plays:
    """Plays moves of many sessions together."""

    def __init__(self, lines: Lines, keeper: Keeper, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._lines, self._keeper, self._longest = lines, keeper, settings.max_moves
        self._asked: list[_Play] = []
        self._running: set[asyncio.Task[None]] = set()

    async def play(self, session: str, request: MovesRequest) -> schemas.MovesAnswer | None:
        """Play a move with those that others ask for in the same turn of the event loop; None if it is not plain."""
        if len(request.moves) != 1:
            return None
        with within_deadline() as waiting:
            play = _Play(session, request, waiting)
            if not self._asked:
                asyncio.get_running_loop().call_soon(self._begin_asked)
            self._asked.append(play)
            return await play.answer

    async def play_all(self, asked: Sequence[tuple[str, MovesRequest]]) -> list[schemas.MovesAnswer | Problem | None]:
        """Play moves of many sessions; give the answer of each, or its problem, or None if it is not plain.

        Nothing is plain in a session that is asked for more than once: its moves have to take turns.
        """
        times = Counter(session for session, _ in asked)
        single = [number for number, one in enumerate(asked) if times[one[0]] == 1 == len(one[1].moves)]
        given: list[schemas.MovesAnswer | Problem | None] = [None] * len(asked)
        try:
            with within_deadline() as waiting:
                plays = [_Play(*asked[number], waiting) for number in single]
                self._begin(plays)
                found = await asyncio.gather(*(play.answer for play in plays), return_exceptions=True)
        except DeadlinePassed as late:
            found = [late] * len(single)
        for number, answer in zip(single, found, strict=True):
            given[number] = expected(answer)
        return given

    def _begin_asked(self) -> None:
        plays, self._asked = self._asked, []
        self._begin(plays)

    def _begin(self, plays: Iterable[_Play]) -> None:
        begun = []
        for play in plays:
            if play.answer.done():
                continue
            if self._keeper.take_at_once(play.session):
                begun.append(play)
            else:
                play.answer.set_result(None)
        if begun:
            task = asyncio.create_task(self._play(begun))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _play(self, plays: Sequence[_Play]) -> None:
        """Load the sessions, whose turns were taken, and play what is plain, the moves of a model together."""
        share_timing(play.timing for play in plays)
        batches: dict[str, list[_Taken]] = {}
        try:
            sessions = await self._keeper.load_all([play.session for play in plays])
        except Problem:
            sessions = [None for _ in plays]
        for play, session in zip(plays, sessions, strict=True):
            try:
                taken = self._take(play, session)
            except Exception as error:
                self._dismiss(play, error)
                continue
            if taken is None:
                self._dismiss(play, None)
            else:
                batches.setdefault(taken.model.graph, []).append(taken)
        runs = [self._play_batch(batch[0].model, batch) for batch in batches.values()]
        await (runs[0] if len(runs) == 1 else asyncio.gather(*runs))

    def _take(self, play: _Play, session: Found) -> _Taken | None:
        """Play the move on the session's position, if nothing speaks against it."""
        if play.answer.done() or not isinstance(session, Session):
            return None
        model = self._lines.fitting(session)
        if model is None or play.request.ply not in (None, session.ply) or session.ply >= self._longest:
            return None
        line = self._lines.resume(model, session, take=True)
        try:
            line.play(play.request.moves)
        except BadMove:
            self._lines.give_back(session, line)
            return None
        return _Taken(play, session, model, line)

    def _dismiss(self, play: _Play, error: Exception | None) -> None:
        """Give a turn back; say what went wrong, if anything did."""
        self._keeper.give_back(play.session)
        if play.answer.done():
            return
        if error is None:
            play.answer.set_result(None)
        else:
            play.answer.set_exception(error)

    async def _play_batch(self, model: Model, batch: Sequence[_Taken]) -> None:
        try:
            going = await self._compute(model, batch)
            if going:
                await self._keep(model, going)
        except Exception as error:
            for taken in batch:
                self._dismiss(taken.play, error)
        else:
            for taken in batch:
                self._keeper.give_back(taken.session.id)

    async def _compute(self, model: Model, batch: Sequence[_Taken]) -> list[_Taken]:
        """Let the network read the moves; give those that are to be kept: nobody gave up waiting for them."""
        outcomes = await model.scheduler.run_all([(taken.line.state, taken.line.steps) for taken in batch])
        going = []
        for taken, outcome in zip(batch, outcomes, strict=True):
            play = taken.play
            if play.answer.done():
                continue
            if isinstance(outcome, EngineFailed):
                play.answer.set_exception(outcome)
                continue
            play.waiting.let_end()
            taken.line.finish(outcome)
            going.append(taken)
        return going

    async def _keep(self, model: Model, batch: Sequence[_Taken]) -> None:
        """Commit the moves and answer them; what another process was faster with is not plain after all."""
        after = [self._lines.after(taken.session, model, taken.line) for taken in batch]
        commits = [Commit(new, taken.session.revision) for new, taken in zip(after, batch, strict=True)]
        kept = await self._keeper.commit_all(commits, [taken.line.position for taken in batch])
        for taken, was_kept in zip(batch, kept, strict=True):
            play = taken.play
            if not play.answer.done():
                played = answers.played(taken.session, model, taken.line, play.request) if was_kept else None
                play.answer.set_result(played)


def expected(given: schemas.MovesAnswer | BaseException | None) -> schemas.MovesAnswer | Problem | None:
    """Pass what may come of a move; anything else is raised."""
    if isinstance(given, BaseException) and not isinstance(given, Problem):
        raise given
    return given
