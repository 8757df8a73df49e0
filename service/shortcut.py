"""Reads requests with one more move of a session from the server and answers them without ASGI, or a task for each.

Most requests are such, and the layers of the application took a quarter of their time. Each layer is asked here for
what it does all the same; a request that one of them would not simply let pass, or that the batch has no answer for,
takes the ordinary way through all of them. So nothing is decided here that is not decided there.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

import orjson
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Scope

from service.admission import AGAIN, Admission
from service.deadline import passed
from service.errors import Overloaded, Problem
from service.observing import Observed, Record
from service.plays import Plays
from service.requests import MovesRequest
from service.routes import Json, failures
from service.routes.hot import MOVES, OF_MOVES, is_plain
from service.security.browsers import DATA
from service.security.caller import Caller, caller
from service.security.gate import Gate
from service.single_moves import Answer, Asking, SingleMove
from service.stopping import cut_off

_log = logging.getLogger("nextply")
# Bytes of a body with one move; no limit that can be set is lower.
_LONGEST = 1024
# A time that is over before the first look at a request, in milliseconds, needs a timer from the beginning;
# one that is not over by the look after the next, in seconds, needs none yet, and hardly any ever does.
_SHORT, _SOON = 100, 2 * AGAIN


class Ending(Protocol):
    """What is told of the end of the service or of the connection."""

    def be_cut(self) -> None:
        """End: the service waits no longer."""

    def be_left(self) -> None:
        """Learn that the client has left."""


class Exchange(Protocol):
    """The server's side of a request that has arrived: one of its methods has to be called in the end."""

    scope: Scope
    session: str

    @property
    def body(self) -> bytes:
        """The whole body."""

    @property
    def gone(self) -> bool:
        """Whether the client has left."""

    def begin(self, ending: Ending) -> None:
        """Let the server wait for the answer when it stops, and tell if that takes too long or the client leaves."""

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Send an answer, its headers as lines."""

    def pass_on(self) -> None:
        """Let the application answer, in a task."""

    def drop(self) -> None:
        """Let there be no answer: the client has left."""


class Shortcut:
    """The way from the server to the batch of moves, and back."""

    def __init__(self, plays: Plays, observed: Observed, gate: Gate | None, admission: Admission) -> None:
        """Take what plays the moves, and the layers that are passed by."""
        self._plays, self._observed, self._gate, self._admission = plays, observed, gate, admission

    def session(self, scope: Scope) -> str | None:
        """Give the session of a request if its head looks like that of one more move, and comes from no page."""
        moves = MOVES.fullmatch(scope["path"])
        if moves is None or scope["method"] != "POST" or scope["query_string"] or not is_plain(scope, _LONGEST):
            return None
        return None if any(name == b"origin" for name, _ in scope["headers"]) else moves[1]

    def take(self, exchange: Exchange) -> bool:
        """Begin to answer a request that looks so; False, and nothing is done, if it has to take the ordinary way."""
        scope = exchange.scope
        who = caller() if self._gate is None else self._gate.at_once(scope)
        if who is None:
            return False
        scope["template"] = OF_MOVES
        try:
            self._admission.check_room()
        except Overloaded as refused:
            # What comes when there is too much already has to cost least of all.
            _respond(exchange, self._observed, self._observed.begin(scope), failures.of_problem(refused))
            return True
        try:
            request = MovesRequest.model_validate_json(exchange.body)
            if len(request.moves) != 1:
                return False
            asked = _Asked(exchange, self._admission, self._observed, self._admission.timeout(scope))
            self._plays.let_wait([_move(who, exchange.session, request, asked)])
        except (ValidationError, Problem):
            return False
        asked.begin()
        return True


def _move(who: Caller, session: str, request: MovesRequest, asked: Asking) -> SingleMove:
    return SingleMove(who.prefix + session, request.moves[0], request.ply, request.top_k, asked)


class _Asked(Asking):
    """One request on the shortcut, from the moment it is taken to its answer."""

    _over = False
    _timer: asyncio.TimerHandle | None = None
    _late = False
    _record: Record

    def __init__(self, exchange: Exchange, admission: Admission, observed: Observed, timeout: int) -> None:
        super().__init__(1, None)
        self._exchange, self._admission, self._observed, self._timeout = exchange, admission, observed, timeout
        self._loop = asyncio.get_running_loop()
        self._until: float | None = self._loop.time() + timeout / 1000

    def begin(self) -> None:
        """Enter where the layers would let it enter."""
        self.timing = self._record = self._observed.begin(self._exchange.scope)
        self._admission.enter(self)
        self._exchange.begin(self)
        if self._timeout <= _SHORT:
            self._wait_for_deadline()

    @property
    def over(self) -> bool:
        """Whether it was answered, or the client has left."""
        return self._over

    def look(self) -> None:
        """Look after it: its client and its deadline; most requests are through before."""
        self._late = True
        if self._exchange.gone:
            self.be_left()
        elif self._until is not None and self._until - self._loop.time() <= _SOON:
            self._wait_for_deadline()

    def be_cut(self) -> None:
        """End with the service."""
        self.take(cut_off())

    def be_left(self) -> None:
        """End without an answer, if it takes long; else its answer finds out that there is nobody to read it."""
        if self._late:
            self._end()
            self._drop()

    def let_end(self) -> None:
        """Let the deadline pass without a word."""
        self._until = None
        if self._timer is not None:
            self._timer.cancel()

    def take(self, answer: Answer) -> None:
        """Send the answer, or let the application find out what is not plain."""
        self._end()
        try:
            if self._exchange.gone:
                self._drop()
            elif answer is None:
                self._record.forget()
                self._exchange.pass_on()
            elif isinstance(answer, BaseException):
                response = failures.of_failure(answer, self._exchange.scope["path"])
                _respond(self._exchange, self._observed, self._record, response)
            else:
                body = orjson.dumps(answer)
                headers = b"%bcontent-length: %d\r\n" % (_HEADERS, len(body))
                _answer(self._exchange, self._observed, self._record, 200, headers, body)
        except Exception:
            # Whoever is answered after this one has nothing to do with it.
            _log.exception("an answer could not be sent")

    def _end(self) -> None:
        self._over = True
        self.let_end()
        self._admission.leave(self)

    def _drop(self) -> None:
        self._exchange.drop()
        self._observed.end(self._record)

    def _wait_for_deadline(self) -> None:
        if self._until is not None and self._timer is None:
            self._timer = self._loop.call_at(self._until, self._cut_by_deadline)

    def _cut_by_deadline(self) -> None:
        self.take(passed(self._timeout))


def _respond(exchange: Exchange, observed: Observed, record: Record, response: Response) -> None:
    headers = _lines([*response.raw_headers, *DATA])
    _answer(exchange, observed, record, response.status_code, headers, bytes(response.body))


def _answer(exchange: Exchange, observed: Observed, record: Record, status: int, headers: bytes, body: bytes) -> None:
    told = record.begin_answer(status)
    exchange.answer(status, headers + _lines(told), body)
    observed.end(record)


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


_HEADERS = _lines([(b"content-type", Json.media_type.encode()), *DATA])
