"""Reads the single moves that come at about the same time and plays them as one batch, from sessions to answers.

Most requests are one more move of a running session. Done together such moves need no task, no load, no place in a
queue and no commit for each. What is not so plain gets no answer here and takes the way of all other requests: so
nothing is decided here that is not decided there.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from service import answers, schemas
from service.deadline import Block, within_deadline
from service.errors import BadMove, DeadlinePassed, EngineFailed, Overloaded, Problem
from service.gathering import Gathering
from service.keeper import Keeper
from service.line import Line
from service.lines import Lines
from service.models import Model
from service.requests import MovesRequest
from service.sessions import Commit, Found, Session
from service.settings import Settings
from service.timing import BATCH, Timing, current_timing, share_timing

# Full ticks of the network that one batch may fill.
_TICKS = 4


@dataclass(slots=True, eq=False)
class _Asked:
    """Moves that a request asks for and waits for until the deadline; it is done when the last has its answer."""

    left: int
    waiting: Block
    done: "asyncio.Future[None]" = field(default_factory=asyncio.Future)
    timing: Timing | None = field(default_factory=current_timing)
    begun: float = field(default_factory=time.perf_counter)
    told: bool = False
    """Whether the request knows how long it waited for the first of its batches."""


@dataclass(slots=True, eq=False)
class _Play:
    """One move; its answer is None if it is not plain."""

    session: str
    request: MovesRequest
    asked: _Asked
    answer: schemas.MovesAnswer | BaseException | None = None
    answered: bool = False

    @property
    def over(self) -> bool:
        """Whether it was answered, or nobody waits for it any more."""
        return self.answered or self.asked.done.done()

    def settle(self, answer: schemas.MovesAnswer | BaseException | None) -> None:
        """Answer it, if it is not over."""
        if self.over:
            return
        self.answer, self.answered = answer, True
        self.asked.left -= 1
        if not self.asked.left:
            self.asked.done.set_result(None)


@dataclass(slots=True, eq=False)
class _Taken:
    """A move that is being played: the session before it, its model, and the line with it."""

    play: _Play
    session: Session
    model: Model
    line: Line


class Plays:
    """Plays moves of many sessions together; those of one model wait for those of no other."""

    def __init__(self, lines: Lines, keeper: Keeper, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._lines, self._keeper, self._longest = lines, keeper, settings.max_moves
        self._most = _TICKS * settings.max_batch
        self._lanes: dict[str, Gathering[_Play]] = {}
        self._latest: Model | None = None

    async def play(self, session: str, request: MovesRequest) -> schemas.MovesAnswer | None:
        """Play a move with those that others ask for at the same time; None if it is not plain."""
        if len(request.moves) != 1:
            return None
        with within_deadline() as waiting:
            play = _Play(session, request, _Asked(1, waiting))
            await self._wait_for([play], play.asked)
        return _raised(play.answer)

    async def play_all(self, asked: Sequence[tuple[str, MovesRequest]]) -> list[schemas.MovesAnswer | Problem | None]:
        """Play moves of many sessions; give the answer of each, or its problem, or None if it is not plain.

        Nothing is plain in a session that is asked for more than once: its moves have to take turns.
        """
        times = Counter(session for session, _ in asked)
        single = [number for number, one in enumerate(asked) if times[one[0]] == 1 == len(one[1].moves)]
        given: list[schemas.MovesAnswer | Problem | None] = [None] * len(asked)
        if not single:
            return given
        try:
            with within_deadline() as waiting:
                together = _Asked(len(single), waiting)
                plays = [_Play(*asked[number], together) for number in single]
                await self._wait_for(plays, together)
        except (DeadlinePassed, Overloaded) as problem:
            for number in single:
                given[number] = problem
        else:
            for number, play in zip(single, plays, strict=True):
                given[number] = expected(play.answer)
        return given

    async def _wait_for(self, plays: Sequence[_Play], asked: _Asked) -> None:
        self._likely_model(plays[0].session).scheduler.admit(len(plays))
        for play in plays:
            model = self._likely_model(play.session)
            if model.graph not in self._lanes:
                self._lanes[model.graph] = Gathering(self._play, self._most, model.scheduler.waiting)
            self._lanes[model.graph].add(play)
        await asked.done

    def _likely_model(self, session: str) -> Model:
        """Give the model of a session; what is not remembered is likely to be of the one that was last."""
        self._latest = self._lines.likely_model(session) or self._latest or self._lines.default_model()
        return self._latest

    async def _play(self, asked: Sequence[_Play]) -> None:
        """Load the sessions of moves whose turn it is, and play what is plain, the moves of a model together."""
        plays = [play for play in asked if self._may_begin(play)]
        if not plays:
            return
        _tell_how_long_they_waited({play.asked for play in plays})
        batches: dict[str, list[_Taken]] = {}
        try:
            sessions = await self._keeper.load_all([play.session for play in plays])
        except Exception:
            # On the ordinary way each is told what is wrong.
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
        for batch in batches.values():
            await self._play_batch(batch[0].model, batch)

    def _may_begin(self, play: _Play) -> bool:
        """Take the turn of a move's session, if anybody waits for it and nobody else has it."""
        if play.over:
            return False
        if self._keeper.take_at_once(play.session):
            return True
        play.settle(None)
        return False

    def _take(self, play: _Play, session: Found) -> _Taken | None:
        """Play the move on the session's position, if nothing speaks against it."""
        if play.over or not isinstance(session, Session):
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
        play.settle(error)

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
        oldest = min(taken.play.asked.begun for taken in batch)
        lines = [(taken.line.state, taken.line.steps) for taken in batch]
        outcomes = await model.scheduler.run_all(lines, oldest)
        going = []
        for taken, outcome in zip(batch, outcomes, strict=True):
            play = taken.play
            if play.over:
                continue
            if isinstance(outcome, EngineFailed):
                play.settle(outcome)
                continue
            play.asked.waiting.let_end()
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
            if not play.over:
                play.settle(answers.played(taken.session, model, taken.line, play.request) if was_kept else None)


def _tell_how_long_they_waited(asked: Collection[_Asked]) -> None:
    """Let each request know how long its moves waited for their batch, and what is done from here on for all."""
    now = time.perf_counter()
    for one in asked:
        # What it waits for after its first batch is the network.
        if one.timing is not None and not one.told:
            one.told = True
            one.timing.add(BATCH, one.begun, now, one.left)
    share_timing(one.timing for one in asked)


def expected(given: schemas.MovesAnswer | BaseException | None) -> schemas.MovesAnswer | Problem | None:
    """Pass what may come of a move; anything else is raised."""
    return given if isinstance(given, Problem) else _raised(given)


def _raised(given: schemas.MovesAnswer | BaseException | None) -> schemas.MovesAnswer | None:
    if isinstance(given, BaseException):
        raise given
    return given
