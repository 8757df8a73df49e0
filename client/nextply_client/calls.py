"""The calls of the HTTP interface as flows: each says what to send, and what the answer is, for both ways to send.

Everything here can be sent again without harm. Moves go with the ply at which they are played, and a new session with
an id, so that the service, or a look at what is there, tells what was applied already.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nextply_client import answers
from nextply_client.errors import NotFound, Problem, SessionExists, UnknownSession, problem_from
from nextply_client.flows import Flow
from nextply_client.http import Answer, Request, Wait, path, sent
from nextply_client.moves import Moves, as_moves
from nextply_client.reading import from_json, read
from nextply_client.retries import Backoff, Retries

T = TypeVar("T")

Context = Mapping[str, int | str | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A game so far, with what is known beside its moves."""

    moves: Moves
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """Moves to play in one session of many; ``ply`` is how many were played before these."""

    session: str
    moves: Moves
    ply: int

    def body(self) -> dict[str, Any]:
        """Give what is sent."""
        return {"session": self.session, "moves": as_moves(self.moves), "ply": self.ply}


def new_id() -> str:
    """Give an id for a session that nobody can guess."""
    return secrets.token_hex(16)


class Calls:
    """The calls, with how patient they are; ``timeout`` is the seconds that one attempt may take."""

    def __init__(self, retries: Retries, timeout: float) -> None:
        """Take what holds for all calls."""
        self.retries, self.timeout = retries, timeout

    def predict(
        self,
        sequences: str | Sequence[Moves | Line],
        *,
        model: str | None = None,
        top_k: int = 5,
        score: bool = False,
        each_ply: bool = False,
        legal_only: bool = True,
    ) -> Flow[answers.Predictions]:
        """Predict the next move of each sequence, of which nothing is kept; a text alone is one sequence.

        ``score`` adds the surprisal of the moves given, ``each_ply`` the prediction at every ply.
        """
        given = [sequences] if isinstance(sequences, str) else sequences
        lines = [one if isinstance(one, Line) else Line(one) for one in given]
        written = [{"moves": as_moves(line.moves), "context": dict(line.context)} for line in lines]
        options = {"score": score, "each_ply": each_ply, "legal_only": legal_only}
        return (
            yield from self._post(
                answers.Predictions, "/predict", sequences=written, model=model, top_k=top_k, **options
            )
        )

    def create(
        self,
        session: str | None = None,
        *,
        moves: Moves = (),
        context: Context | None = None,
        model: str | None = None,
        top_k: int = 5,
    ) -> Flow[answers.Standing]:
        """Open a session; SessionExists if another has its id. Without an id it gets one that nobody can guess."""
        line, id_ = Line(as_moves(moves), context or {}), session or new_id()
        body = {"moves": line.moves, "context": dict(line.context), "model": model, "top_k": top_k}
        try:
            return (yield from self._post(answers.Standing, "/sessions", session=id_, **body))
        except SessionExists as error:
            # Refused at once it is another's. Else an earlier attempt may have made it, whose answer was lost.
            if error.attempts == 1:
                raise
            there = yield from self._if_there(id_, top_k)
            if there is None or not (yield from self._is_so(there, line, model)):
                raise
        return standing(there)

    def _is_so(self, there: answers.SessionState, line: Line, model: str | None) -> Flow[bool]:
        """Say whether a session is what a line opens; the service is asked what the moves are called there."""
        name, _, version = (model or "").partition("/")
        if name not in ("", there.model.name) or version not in ("", there.model.version):
            return False
        context = {name: value for name, value in line.context.items() if value is not None}
        if there.context != context or there.ply != len(line.moves):
            return False
        read_ = yield from self.predict([line], model=str(there.model), top_k=1, each_ply=True)
        return read_.predictions[0].moves == there.moves

    def play(self, session: str, moves: Moves, *, ply: int, top_k: int = 5) -> Flow[answers.Played]:
        """Play moves, all or none; ``ply`` is how many were played before. PlyConflict if it is not so.

        The same moves at the same ply are applied once, however often they are sent.
        """
        return (yield from self._moves(session, "moves", moves, ply, top_k))

    def peek(self, session: str, moves: Moves, *, ply: int | None = None, top_k: int = 5) -> Flow[answers.Played]:
        """Give what playing moves would give, and keep nothing."""
        return (yield from self._moves(session, "peek", moves, ply, top_k))

    def _moves(self, session: str, do: str, moves: Moves, ply: int | None, top_k: int) -> Flow[answers.Played]:
        where = path("sessions", session, do)
        return (yield from self._post(answers.Played, where, moves=as_moves(moves), ply=ply, top_k=top_k))

    def takeback(self, session: str, to_ply: int, *, ply: int | None = None, top_k: int = 5) -> Flow[answers.Standing]:
        """Undo what came after a ply; ``ply`` is how many moves you believe were played."""
        where = path("sessions", session, "takeback")
        return (yield from self._post(answers.Standing, where, to_ply=to_ply, ply=ply, top_k=top_k))

    def fork(
        self, session: str, *, at_ply: int | None = None, into: str | None = None, top_k: int = 5
    ) -> Flow[answers.Standing]:
        """Open a new session, ``into`` if that is given, that shares the moves of one up to a ply."""
        id_, where = into or new_id(), path("sessions", session, "fork")
        try:
            return (yield from self._post(answers.Standing, where, session=id_, at_ply=at_ply, top_k=top_k))
        except SessionExists as error:
            if error.attempts == 1:
                raise
            there = yield from self._if_there(id_, top_k)
            past = yield from self._if_there(session, 1)
            ply = past.ply if past is not None and at_ply is None else at_ply
            if there is None or past is None or (there.context, there.moves) != (past.context, past.moves[:ply]):
                raise
        return standing(there)

    def get(self, session: str, *, top_k: int = 5) -> Flow[answers.SessionState]:
        """Give a session as it stands."""
        return (yield from self._get(answers.SessionState, path("sessions", session), top_k=top_k))

    def _if_there(self, session: str, top_k: int) -> Flow[answers.SessionState | None]:
        try:
            return (yield from self.get(session, top_k=top_k))
        except NotFound:
            return None

    def explain(self, session: str, *, units: int = 0) -> Flow[answers.Explanation]:
        """Give what the gates of the network did at every ply; NoGates if its model cannot say.

        With ``units`` also what so many units of the memory held, those that remember longest.
        """
        return (yield from self._get(answers.Explanation, path("sessions", session, "explain"), units=units or None))

    def delete(self, session: str) -> Flow[None]:
        """Forget a session; UnknownSession if there is none."""
        try:
            yield from self._sent(Request("DELETE", path("sessions", session)))
        except UnknownSession as error:
            # An earlier attempt whose answer was lost may have deleted it; it is gone either way.
            if error.attempts == 1:
                raise

    def page(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        prefix: str | None = None,
        model: str | None = None,
        min_ply: int | None = None,
        min_idle: float | None = None,
    ) -> Flow[answers.SessionPage]:
        """Give a page of the sessions that fit, and what to give as ``after`` for the next one."""
        filters = {"prefix": prefix, "model": model, "min_ply": min_ply, "min_idle": min_idle}
        return (yield from self._get(answers.SessionPage, "/sessions", limit=limit, after=after, **filters))

    def export_state(self, session: str) -> Flow[bytes]:
        """Give a session, its moves and its state, as one blob."""
        answer = yield from self._sent(Request("GET", path("sessions", session, "state")))
        return answer.content

    def import_state(self, session: str, blob: bytes, *, rebuild: bool = False) -> Flow[answers.Standing]:
        """Open a session from a blob; ``rebuild`` keeps its moves alone and computes the state anew."""
        params = {"rebuild": "true" if rebuild else None}
        request = Request("PUT", path("sessions", session, "state"), bytes(blob), params)
        answer = yield from self._sent(request)
        return read(answers.Standing, answer.content)

    def models(self) -> Flow[list[answers.Model]]:
        """List the models that the service has loaded."""
        answer = yield from self._sent(Request("GET", "/models"))
        return read(_Models, answer.content).models

    def steps(self, steps: Iterable[Step], *, top_k: int = 5) -> Flow[list[answers.StepResult]]:
        """Play in many sessions with one request; give, in order, what came of each, or the problem with it.

        What the service could not do at the moment is sent again, with what followed it in the same session.
        """
        given = list(steps)
        results: dict[int, answers.StepResult] = {}
        backoff, left = self.retries.begin(), list(range(len(given)))
        while left:
            body = {"steps": [given[number].body() for number in left], "top_k": top_k}
            answer = yield from self._sent(Request("POST", "/steps", body))
            outcomes = [_result(item) for item in read(_Steps, answer.content).results]
            results |= dict(zip(left, outcomes, strict=True))
            left = _again(given, left, results)
            if left:
                pause = _pause(backoff, [results[number] for number in left])
                if pause is None:
                    break
                yield Wait(pause)
        return [results[number] for number in range(len(given))]

    def _post(self, kind: type[T], where: str, **members: Any) -> Flow[T]:
        body = {name: value for name, value in members.items() if value is not None}
        answer = yield from self._sent(Request("POST", where, body))
        return read(kind, answer.content)

    def _get(self, kind: type[T], where: str, **params: Any) -> Flow[T]:
        answer = yield from self._sent(Request("GET", where, params=params))
        return read(kind, answer.content)

    def _sent(self, request: Request) -> Flow[Answer]:
        return sent(request, self.retries, self.timeout)


def standing(there: answers.SessionState) -> answers.Standing:
    """Say of a session only where it stands."""
    return answers.Standing(there.session, there.model, there.ply, there.next, there.upgraded_from)


@dataclass(frozen=True, slots=True)
class _Models:
    models: list[answers.Model]


@dataclass(frozen=True, slots=True)
class _Steps:
    results: list[dict[str, Any]]


def _result(item: Mapping[str, Any]) -> answers.StepResult:
    if "problem" not in item:
        return from_json(answers.Played, item)
    problem = problem_from(item["problem"]["status"], item["problem"])
    problem.session = item["session"]
    return problem


def _again(given: Sequence[Step], sent_: Sequence[int], results: Mapping[int, answers.StepResult]) -> list[int]:
    """Give which steps to send again: of each session, from the first one that failed for a reason that passes."""
    broken, left = set[str](), list[int]()
    for number in sent_:
        result, session = results[number], given[number].session
        if session in broken or (isinstance(result, Problem) and result.passing):
            broken.add(session)
            left.append(number)
    return left


def _pause(backoff: Backoff, results: Iterable[answers.StepResult]) -> float | None:
    """Give how long to wait before steps are sent again, None if they were sent often enough."""
    try:
        return backoff.pause(next(result for result in results if isinstance(result, Problem) and result.passing))
    except Problem:
        return None
