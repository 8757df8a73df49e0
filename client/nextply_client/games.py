"""One session as an object that knows where its game stands, so that every move goes with the right ply."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from nextply_client import answers
from nextply_client.calls import Calls
from nextply_client.flows import Flow
from nextply_client.moves import Moves


class GameCalls:
    """The calls of one session as flows, and what their answers said last."""

    def __init__(self, calls: Calls, stands: answers.Standing | answers.SessionState) -> None:
        """Take where the session stands."""
        self.calls, self.id = calls, stands.session
        self._turn = Lock()
        self.take(stands)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second play from being sent at the ply of the first: the same move would pass for its repetition."""
        if not self._turn.acquire(blocking=False):
            raise RuntimeError("a session object plays one request after another: await the one before")
        try:
            yield
        finally:
            self._turn.release()

    def take(self, answer: answers.Standing | answers.SessionState | answers.Played) -> None:
        """Learn from an answer where the session stands."""
        self.model, self.ply, self.next = answer.model, answer.ply, answer.next

    def play(self, moves: Moves, *, top_k: int = 5) -> Flow[answers.Played]:
        """Play moves, all or none, from where this object believes the session to be; PlyConflict if it is not.

        After a PlyConflict ``get`` learns what others have played. RuntimeError while another play is under way.
        """
        with self._alone():
            answer = yield from self.calls.play(self.id, moves, ply=self.ply, top_k=top_k)
            self.take(answer)
            return answer

    def peek(self, moves: Moves, *, top_k: int = 5) -> Flow[answers.Played]:
        """Give what playing moves would give, and keep nothing."""
        return (yield from self.calls.peek(self.id, moves, ply=self.ply, top_k=top_k))

    def takeback(self, to_ply: int | None = None, *, top_k: int = 5) -> Flow[answers.Standing]:
        """Undo what came after a ply, the last move alone if none is given."""
        with self._alone():
            to = max(self.ply - 1, 0) if to_ply is None else to_ply
            answer = yield from self.calls.takeback(self.id, to, ply=self.ply, top_k=top_k)
            self.take(answer)
            return answer

    def get(self, *, top_k: int = 5) -> Flow[answers.SessionState]:
        """Give the session as it stands, and go on from there."""
        answer = yield from self.calls.get(self.id, top_k=top_k)
        self.take(answer)
        return answer

    def explain(self, *, units: int = 0) -> Flow[answers.Explanation]:
        """Give what the gates of the network did at every ply, and what so many units of its memory held."""
        return (yield from self.calls.explain(self.id, units=units))

    def export_state(self) -> Flow[bytes]:
        """Give the session as one blob."""
        return (yield from self.calls.export_state(self.id))

    def delete(self) -> Flow[None]:
        """Forget the session."""
        yield from self.calls.delete(self.id)

    def fork(self, at_ply: int | None = None, into: str | None = None, top_k: int = 5) -> Flow[answers.Standing]:
        """Open a session that shares the moves up to a ply, all that this object knows of if none is given."""
        ply = self.ply if at_ply is None else at_ply
        return (yield from self.calls.fork(self.id, at_ply=ply, into=into, top_k=top_k))


class Game:
    """What sync and async sessions have in common: who they are and where they stand."""

    calls: GameCalls

    @property
    def id(self) -> str:
        """The session's id."""
        return self.calls.id

    @property
    def ply(self) -> int:
        """How many moves were played, as far as this object knows."""
        return self.calls.ply

    @property
    def model(self) -> answers.ModelId:
        """Which model answered last."""
        return self.calls.model

    @property
    def next(self) -> Sequence[answers.Candidate]:
        """What may come next, the likeliest move first, as many as the last call asked for."""
        return self.calls.next
