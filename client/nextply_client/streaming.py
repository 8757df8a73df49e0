"""Plays moves over one WebSocket, many ahead of their answers, and sends again what a break left unanswered.

The connection is about any number of sessions. Messages of one session are answered in the order in which they were
sent, each play carries its ply, and nothing but plays is sent: so all that is unanswered can be sent again at any time.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from nextply_client.answers import Played
from nextply_client.errors import (
    BadAnswer,
    NextplyError,
    Problem,
    StreamClosed,
    problem_from,
    problem_of,
)
from nextply_client.flows import Effect, Flow
from nextply_client.games import Game
from nextply_client.http import Wait, unreachable
from nextply_client.moves import Moves, as_moves
from nextply_client.reading import from_json
from nextply_client.retries import Retries

# As many as the service works on at once, so that neither side ever waits for the other to read.
_AHEAD = 64
# Close codes after which it is of no use to connect again: the message or the key was wrong, not the moment.
_FINAL = (1003, 1007, 1008, 1009, *range(4000, 5000))

SOCKET_ERRORS = (OSError, TimeoutError, EOFError, ConnectionClosed, InvalidHandshake)
"""What websockets raises when a connection cannot be made or is lost."""


@dataclass(frozen=True, slots=True)
class Connect(Effect):
    """Leave the connection, if there is one, and make a new one."""

    timeout: float


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """Send a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Hear(Effect):
    """Wait at most so many seconds for a text, which is what comes of it."""

    timeout: float


def socket_failure(error: Exception) -> NextplyError:
    """Say for people, and for retries, what websockets raised."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code in _FINAL:
        return StreamClosed(error.rcvd.code, error.rcvd.reason)
    if isinstance(error, InvalidStatus):
        answer = error.response
        headers = {name.lower(): value for name, value in answer.headers.raw_items()}
        return problem_of(answer.status_code, headers, bytes(answer.body or b""))
    return unreachable(error)


@dataclass(slots=True, eq=False)
class _Chain:
    """Moves of one session, each played on the ones before; ``ply`` is where the next ones go."""

    ply: int


@dataclass(frozen=True, slots=True)
class _Sent:
    session: str
    text: str
    game: Game | None
    chain: _Chain


class StreamCalls:
    """What is done on a stream as flows, and what was sent and not answered yet."""

    def __init__(self, retries: Retries, timeout: float) -> None:
        """Take how patient it is."""
        self._retries, self._timeout = retries, timeout
        self._unanswered: dict[int, _Sent] = {}
        self._answered: deque[tuple[_Sent, Played | Problem]] = deque()
        self._chains: dict[str, _Chain] = {}
        self._tags, self._connected = 0, False

    @property
    def expected(self) -> int:
        """How many answers are still to be received."""
        return len(self._unanswered) + len(self._answered)

    def send(self, session: str | Game, moves: Moves, *, ply: int | None = None, top_k: int = 5) -> Flow[None]:
        """Send moves to play, without waiting for the answer.

        ``ply`` is how many moves were played before them. It may be left out if a session object is given, or if this
        stream has sent moves of the session before and no refusal of them was received; ValueError otherwise.
        """
        sent = self._put(session, as_moves(moves), ply, top_k)
        try:
            if self._connected:
                yield Say(sent.text)
            else:
                yield from self._connect(self._timeout)
        except NextplyError as failure:
            # It is sent again, with all that is unanswered, at the next send, or when somebody waits for an answer.
            self._connected = False
            if not failure.passing:
                raise
        while len(self._unanswered) >= _AHEAD:
            self._answered.append((yield from self._pull()))

    def _put(self, session: str | Game, moves: list[str], ply: int | None, top_k: int) -> _Sent:
        game = None if isinstance(session, str) else session
        id_ = session.id if isinstance(session, Game) else session
        chain = self._chains.get(id_)
        if chain is None or ply not in (None, chain.ply):
            begin = game.ply if ply is None and game is not None else ply
            if begin is None:
                raise ValueError(f"say at which ply the first moves of session {id_!r} are played")
            chain = self._chains[id_] = _Chain(begin)
        self._tags += 1
        message = {"session": id_, "moves": moves, "ply": chain.ply, "top_k": top_k, "tag": self._tags}
        chain.ply += len(moves)
        sent = self._unanswered[self._tags] = _Sent(id_, json.dumps(message), game, chain)
        return sent

    def receive(self) -> Flow[Played]:
        """Give the next answer; raises the problem if moves were refused, and LookupError if nothing is unanswered.

        After a refusal the moves that were sent behind it in the same session are refused too, each on its own.
        """
        if not self.expected:
            raise LookupError("everything that was sent is answered")
        sent, result = self._answered.popleft() if self._answered else (yield from self._pull())
        if isinstance(result, Problem):
            # Only who knows of it may go on from elsewhere; until then all that follows in the session is refused too.
            if self._chains.get(sent.session) is sent.chain:
                del self._chains[sent.session]
            raise result
        return result

    def _pull(self) -> Flow[tuple[_Sent, Played | Problem]]:
        backoff = self._retries.begin()
        while True:
            try:
                if not self._connected:
                    yield from self._connect(backoff.left(self._timeout))
                return self._take((yield Hear(self._timeout)))
            except NextplyError as failure:
                # Also after an answer that only a later attempt can better: what was sent behind it depends on it.
                self._connected = False
                yield Wait(backoff.pause(failure))

    def _connect(self, timeout: float) -> Flow[None]:
        yield Connect(timeout)
        for sent in list(self._unanswered.values()):
            yield Say(sent.text)
        self._connected = True

    def _take(self, text: str | bytes) -> tuple[_Sent, Played | Problem]:
        """Read an answer; a problem that passes is raised, and its message stays unanswered."""
        try:
            heard: Mapping[str, Any] = json.loads(text)
            tag = heard["tag"]
            sent = self._unanswered[tag]
            result = _read(heard)
        except (ValueError, TypeError, KeyError) as error:
            raise BadAnswer(f"the service said something that answers nothing: {error}") from error
        if isinstance(result, Problem):
            result.session = sent.session
            if result.passing:
                raise result
        elif sent.game is not None:
            sent.game.calls.take(result)
        del self._unanswered[tag]
        return sent, result


def _read(heard: Mapping[str, Any]) -> Played | Problem:
    if "problem" in heard:
        return problem_from(heard["problem"]["status"], heard["problem"])
    return from_json(Played, heard)
