"""Reads the moves of a request, checks them before any is queued, and gives what the network predicts along them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model.games import Game, IllegalMove, Position
from service.distribution import Distribution
from service.engine import Input
from service.errors import BadMove
from service.jobs import Outcome, Read, Step
from service.prefixes import DEPTH, Prefixes, Reached
from service.scheduler import Scheduler


@dataclass(slots=True)
class Line:
    """Moves played one after another from ``position``, and the steps by which the network reads them.

    ``known`` is what was predicted at ``position``, ``ply`` moves into the game, together with ``state``; None at the
    start of a game, which the network reads as a step of its own. After ``run`` or ``finish``, ``predictions[i]`` is
    what was predicted before ``moves[i]``, the last one what is predicted next.
    """

    game: Game
    context: Sequence[int]
    position: Position
    state: bytes
    known: Distribution | None = None
    ply: int = 0
    legal_only: bool = True
    trace: bool = False
    """Keep a copy of the position at every prediction, in ``positions``."""
    moves: list[int] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    predictions: list[Distribution] = field(default_factory=list)
    steps: list[Step[Input]] = field(default_factory=list)
    _surprisals: list[float] | None = None

    def __post_init__(self) -> None:
        """Read the start, where nothing was read yet."""
        if self.known is None:
            self._add(self.game.vocabulary.start)

    def replay(self, moves: Sequence[int]) -> None:
        """Play moves that are known to be legal."""
        for move in moves:
            self.position.play(move)
            self.moves.append(move)
            self._add(move)

    def play(self, moves: Sequence[str], **where: Any) -> None:
        """Play moves in any notation; BadMove names the first that is unknown or illegal, together with ``where``."""
        for index, move in enumerate(moves):
            try:
                move_id = self.position.find(move)
            except IllegalMove as error:
                place = ", ".join(f"{name} {number}" for name, number in (where | {"move": index}).items())
                raise BadMove(f"{place}: {error}", **where, index=index, move=move) from None
            self.replay([move_id])

    async def run(self, scheduler: Scheduler[Input], prefixes: Prefixes, *, every: bool = True) -> None:
        """Let the network read the moves; with ``every`` false only the last prediction is kept.

        The beginning of a game is not read anew if another game began alike.
        """
        begins = self.known is None and self.legal_only
        shared = prefixes.along(self.context, self.moves) if begins else []
        left, opening = self.steps[len(shared) :], DEPTH - len(shared) if begins else 0
        steps = [step._replace(shows=True) for step in left[:opening]]
        steps += left[opening:] if every else [Step(step.input) for step in left[opening:-1]]
        if not every:
            steps += left[max(opening, len(left) - 1) :]
        outcome = await scheduler.run(shared[-1].state if shared else self.state, steps)
        if outcome.states:
            reached = [Reached(*given) for given in zip(outcome.answers, outcome.states, strict=False)]
            prefixes.keep(self.context, self.moves, len(shared), reached)
        self.finish(outcome, [reached.prediction for reached in shared])
        if not every:
            del self.predictions[:-1]

    def finish(self, outcome: Outcome, shared: Sequence[Distribution] = ()) -> None:
        """Take what the network gave for the steps after those whose predictions are ``shared`` with other games."""
        known = [self.known] if self.known is not None else []
        self.state, self.predictions = outcome.state, [*known, *shared, *outcome.answers]
        self._surprisals = None

    async def read_each(self, scheduler: Scheduler[Input], read: Read, *, shows: bool = False) -> Outcome:
        """Give what ``read`` makes of each step on another engine, and its state; the line itself stays unread."""
        return await scheduler.run(self.state, [Step(step.input, read, shows=shows) for step in self.steps])

    def surprisal(self, last: int | None = None) -> list[float]:
        """Give −ln p of so many last moves, or of all, each as it was predicted before it was played."""
        if self._surprisals is None:
            pairs = zip(self.predictions, self.moves, strict=False)
            self._surprisals = [before.surprisal(move) for before, move in pairs]
        return self._surprisals if last is None else self._surprisals[len(self.moves) - last :]

    def _add(self, token: int) -> None:
        candidates = self.position.legal() if self.legal_only else None
        if self.trace:
            self.positions.append(self.position.copy())
        seen = self.game.seen(self.context, self.position.player)
        self.steps.append(Step(Input(token, seen, self.position.cells()), Distribution.of, candidates))
