"""Reads the single moves that come at about the same time and plays them as one batch, from sessions to answers.

Most requests are one more move of a running session. Done together such moves need no task, no load, no place in a
queue and no commit for each. What is not so plain gets no answer here and takes the way of all other requests: so
nothing is decided here that is not decided there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from service import answers, schemas
from service.deadline import within_deadline
from service.errors import BadMove, DeadlinePassed, EngineFailed, Overloaded, Problem
from service.gathering import Gathering
from service.keeper import Keeper
from service.line import Line
from service.lines import Lines
from service.models import Model
from service.requests import MovesRequest, Step
from service.sessions import Commit, Found, Session
from service.settings import Settings
from service.single_moves import Answer, SingleMove, Waiting, tell_how_long_they_waited

# Full ticks of the network that one batch may fill.
_TICKS = 4
# Answers that are worth waking the event loop for while a commit waits for the disk.
_WORTH_WAKING_FOR = 4


@dataclass(slots=True, eq=False)
class _Taken:
    """A move that is being played: the session before it, its model, and the line with it."""

    play: SingleMove
    session: Session
    model: Model
    line: Line


class Plays:
    """Plays moves of many sessions together; those of one model wait for those of no other."""

    def __init__(self, lines: Lines, keeper: Keeper, settings: Settings) -> None:
        """Take the parts, which belong to the caller."""
        self._lines, self._keeper, self._longest = lines, keeper, settings.max_moves
        self._most = _TICKS * settings.max_batch
        self._lanes: dict[str, Gathering[SingleMove]] = {}
        self._latest: Model | None = None

    async def play(self, session: str, request: MovesRequest) -> schemas.MovesAnswer | None:
        """Play a move with those that others ask for at the same time; None if it is not plain."""
        if len(request.moves) != 1:
            return None
        with within_deadline() as block:
            waiting = Waiting(1, block)
            play = SingleMove(session, request.moves[0], request.ply, request.top_k, waiting)
            self.let_wait([play])
            await waiting.done
        return _raised(play.answer)

    async def play_all(self, steps: Sequence[Step], top_k: int) -> list[schemas.MovesAnswer | Problem | None]:
        """Play moves of many sessions; give the answer of each, or its problem, or None if it is not plain.

        Nothing is plain in a session that is asked for more than once: its moves have to take turns.
        """
        times = Counter(step.session for step in steps)
        single = [number for number, step in enumerate(steps) if times[step.session] == 1 == len(step.moves)]
        given: list[schemas.MovesAnswer | Problem | None] = [None] * len(steps)
        if not single:
            return given
        try:
            with within_deadline() as block:
                waiting = Waiting(len(single), block)
                alone = [steps[number] for number in single]
                plays = [SingleMove(step.session, step.moves[0], step.ply, top_k, waiting) for step in alone]
                self.let_wait(plays)
                await waiting.done
        except (DeadlinePassed, Overloaded) as problem:
            for number in single:
                given[number] = problem
        else:
            for number, play in zip(single, plays, strict=True):
                given[number] = expected(play.answer)
        return given

    def let_wait(self, plays: Sequence[SingleMove]) -> None:
        """Let moves wait for the next batch of their model; Overloaded, and none does, if too many wait for one."""
        lanes: dict[str, tuple[Model, list[SingleMove]]] = {}
        for play in plays:
            model = self._likely_model(play.session)
            lanes.setdefault(model.graph, (model, []))[1].append(play)
        for model, of_model in lanes.values():
            model.scheduler.admit(len(of_model))
        for graph, (model, of_model) in lanes.items():
            if graph not in self._lanes:
                self._lanes[graph] = Gathering(self._play, self._most, model.scheduler.waiting)
            self._lanes[graph].add(of_model)

    def _likely_model(self, session: str) -> Model:
        """Give the model of a session; what is not remembered is likely to be of the one that was last."""
        self._latest = self._lines.likely_model(session) or self._latest or self._lines.default_model()
        return self._latest

    async def _play(self, asked: Sequence[SingleMove]) -> None:
        """Load the sessions of moves whose turn it is, and play what is plain, the moves of a model together."""
        plays = [play for play in asked if self._may_begin(play)]
        if not plays:
            return
        tell_how_long_they_waited({play.asked for play in plays})
        batches: dict[str, list[_Taken]] = {}
        try:
            sessions = await self._keeper.load_all([play.session for play in plays], likely=True)
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

    def _may_begin(self, play: SingleMove) -> bool:
        """Take the turn of a move's session, if anybody waits for it and nobody else has it."""
        if play.over:
            return False
        if self._keeper.take_at_once(play.session):
            return True
        play.settle(None)
        return False

    def _take(self, play: SingleMove, session: Found) -> _Taken | None:
        """Play the move on the session's position, if nothing speaks against it."""
        if play.over or not isinstance(session, Session):
            return None
        model = self._lines.fitting(session)
        if model is None or play.ply not in (None, session.ply) or session.ply >= self._longest:
            return None
        line = self._lines.resume(model, session, take=True)
        try:
            line.play((play.move,))
        except BadMove:
            self._lines.give_back(session, line)
            return None
        return _Taken(play, session, model, line)

    def _dismiss(self, play: SingleMove, error: Exception | None) -> None:
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
            play.asked.let_end()
            taken.line.finish(outcome)
            going.append(taken)
        return going

    async def _keep(self, model: Model, batch: Sequence[_Taken]) -> None:
        """Commit the moves and answer them; what another process was faster with is not plain after all."""
        after = [self._lines.after(taken.session, model, taken.line) for taken in batch]
        commits = [Commit(new, taken.session.revision) for new, taken in zip(after, batch, strict=True)]

        @cache
        def written() -> list[schemas.MovesAnswer]:
            return [answers.played(taken.session, model, taken.line, 1, taken.play.top_k) for taken in batch]

        positions = [taken.line.position for taken in batch]
        kept = await self._keeper.commit_all(commits, positions, written if len(batch) >= _WORTH_WAKING_FOR else None)
        for taken, was_kept, answer in zip(batch, kept, written(), strict=True):
            taken.play.settle(answer if was_kept else None)


def expected(given: Answer) -> schemas.MovesAnswer | Problem | None:
    """Pass what may come of a move; anything else is raised."""
    return given if isinstance(given, Problem) else _raised(given)


def _raised(given: Answer) -> schemas.MovesAnswer | None:
    if isinstance(given, BaseException):
        raise given
    return given
