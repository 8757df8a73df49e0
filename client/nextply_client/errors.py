"""What can go wrong: an answer that is a problem (RFC 9457), no answer at all, or one that nobody can read."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar


class NextplyError(Exception):
    """Whatever this package raises about the service."""

    passing: ClassVar[bool] = False
    """Whether the same request may succeed a little later."""
    retry_after: float | None = None
    """Seconds after which to come again, if the service said so."""
    attempts: int = 1
    """How often the request was sent before this was raised."""


class Unreachable(NextplyError):
    """The service did not answer; whether the request was applied is not known."""

    passing = True


class StreamClosed(NextplyError):
    """The service closed a stream for good; ``code`` is the WebSocket's."""

    def __init__(self, code: int, reason: str) -> None:
        """Take the close frame's code and reason."""
        super().__init__(f"the service closed the stream: {reason or 'without a reason'} ({code})")
        self.code, self.reason = code, reason


class BadAnswer(NextplyError):
    """The answer is not the service's: something else may listen there."""


class Problem(NextplyError):
    """The service refused. ``code`` is stable; ``body`` has every member, also what this class does not name."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        """Take the HTTP status and the members of the problem."""
        self.status, self.body = status, dict(body)
        self.code = str(body.get("code", f"http_{status}"))
        self.title = str(body.get("title", ""))
        self.detail = str(body.get("detail") or self.title or f"the service answered {status}")
        self.session: str | None = None
        """Which session it is about, where a request is about several."""
        super().__init__(self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it travel between processes."""
        return type(self), (self.status, self.body)


class InvalidRequest(Problem):
    """The request is not as the service wants it; ``body["errors"]`` may say where."""


class BadMove(InvalidRequest):
    """A move is unknown or illegal; nothing was applied."""

    @property
    def index(self) -> int | None:
        """Which of the moves that were sent."""
        return self.body.get("index")

    @property
    def sequence(self) -> int | None:
        """In which sequence, if several were sent."""
        return self.body.get("sequence")


class BadContext(InvalidRequest):
    """A context field that the game does not know, or a value that is none of its."""


class BadBlob(InvalidRequest):
    """What was imported is no exported session, or is damaged."""


class Unauthorized(Problem):
    """The key is missing or wrong."""


class Forbidden(Problem):
    """The key may not do this."""


class NotFound(Problem):
    """There is no such thing."""


class UnknownModel(NotFound):
    """No such model is loaded."""


class UnknownSession(NotFound):
    """No such session."""


class SessionExpired(UnknownSession):
    """There was such a session; it was idle for too long, or gave way to others."""


class Conflict(Problem):
    """What is there does not fit what was asked."""


class SessionExists(Conflict):
    """Another session has that id."""


class PlyConflict(Conflict):
    """The session is not where the caller believes, or other moves were played there."""

    @property
    def ply(self) -> int:
        """How many moves the session has."""
        return int(self.body["ply"])


class ModelChanged(Conflict):
    """The model has other moves now; the session cannot go on with it."""


class NoGates(Conflict):
    """The session's model was exported without its gates."""


class StateMismatch(Conflict):
    """An imported state is not what its moves give there."""


class TooLarge(Problem):
    """More than one request may hold."""


class Overloaded(Problem):
    """More than the service can do now, or than the key may ask for; nothing was applied."""

    passing = True


class Unavailable(Problem):
    """The service cannot answer now: it is stopping, its store or engine failed, or there is only a gateway."""

    passing = True


class DeadlinePassed(Unavailable):
    """The request was not through in the time it had; nothing was applied."""


class ServiceFailed(Problem):
    """A bug of the service; its log says more."""


_BY_CODE: dict[str, type[Problem]] = {
    "bad_move": BadMove,
    "bad_context": BadContext,
    "bad_blob": BadBlob,
    "unknown_model": UnknownModel,
    "unknown_session": UnknownSession,
    "session_expired": SessionExpired,
    "session_exists": SessionExists,
    "ply_conflict": PlyConflict,
    "model_changed": ModelChanged,
    "no_gates": NoGates,
    "state_mismatch": StateMismatch,
    "deadline_passed": DeadlinePassed,
}
# 502 and 504 are what a gateway says when it has lost the service, which says neither itself.
_BY_STATUS: dict[int, type[Problem]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: Overloaded,
    500: ServiceFailed,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def problem_of(status: int, headers: Mapping[str, str], content: bytes | str) -> Problem:
    """Give the problem that an answer is, whoever wrote it, with the seconds that it asks to wait."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        title = _phrase(status)
        body = {"title": title, "detail": f"the answer was {status} {title}, and no description of a problem"}
    return problem_from(status, body, headers.get("retry-after"))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def problem_from(status: int, body: Mapping[str, Any], retry_after: str | None = None) -> Problem:
    """Give the problem that the members of a body describe."""
    default = InvalidRequest if status < 500 else ServiceFailed
    kind = _BY_CODE.get(str(body.get("code"))) or _BY_STATUS.get(status, default)
    problem = kind(status, body)
    problem.retry_after = _seconds(body.get("retry_after_ms"), retry_after)
    return problem


def _seconds(milliseconds: Any, header: str | None) -> float | None:
    """Read how long to wait; the milliseconds are the more exact. A date in the header is not understood."""
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and milliseconds >= 0:
        return float(milliseconds) / 1000
    if header is not None and header.isdecimal():
        return float(header)
    return None
