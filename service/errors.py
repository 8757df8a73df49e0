"""What can go wrong with a request; each error knows its HTTP status and its stable code (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from service.metrics import problems
from service.names import shown

# Errors of one request that an answer describes.
_SHOWN = 10


class Problem(Exception):
    """An answer that is an error. ``extra`` goes into the body beside ``detail``: what, where, what would be right."""

    status = 400
    code = "bad_request"

    def __init__(self, detail: str, **extra: Any) -> None:
        """Take the sentence for the person who sent the request."""
        super().__init__(detail)
        self.detail, self.extra = detail, extra

    def body(self) -> dict[str, Any]:
        """Give the members of an ``application/problem+json`` body."""
        return problem(self.status, self.code, self.detail, **self.extra)

    def headers(self) -> dict[str, str]:
        """Give the headers that go with the answer."""
        return {}

    def __init_subclass__(cls) -> None:
        """Begin to count at 0, so that the first one is seen as one more."""
        problems.labels(str(cls.status), cls.code)


def problem(status: int, code: str, detail: str, **extra: Any) -> dict[str, Any]:
    """Give the members of an ``application/problem+json`` body, and count that it is answered."""
    problems.labels(str(status), code).inc()
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail} | extra


class InvalidRequest(Problem):
    """A request that is not as described; ``errors`` say where."""

    status, code = 422, "invalid_request"

    @classmethod
    def of(cls, found: Sequence[Mapping[str, Any]], within: int = 0) -> "InvalidRequest":
        """Describe what pydantic found, in the part of the input that begins ``within`` so many names."""
        errors = [
            {"where": ".".join(map(str, item["loc"][within:])), "problem": item["msg"]} for item in found[:_SHOWN]
        ]
        return cls(": ".join(filter(None, errors[0].values())), errors=errors)


class UnknownModel(Problem):
    """No such model is loaded."""

    status, code = 404, "unknown_model"


class UnknownSession(Problem):
    """No such session."""

    status, code = 404, "unknown_session"


class SessionExpired(Problem):
    """There was such a session; it was idle for too long, or gave way to others."""

    status, code = 404, "session_expired"


class SessionExists(Problem):
    """A session of that id is there already."""

    status, code = 409, "session_exists"


class PlyConflict(Problem):
    """The session is not at the ply the caller believes; ``ply`` says where it is."""

    status, code = 409, "ply_conflict"

    @classmethod
    def at(cls, id_: str, ply: int, believed: int) -> "PlyConflict":
        """Describe a session that is at another ply than its caller believes."""
        return cls(f"session {shown(id_)!r} is at ply {ply}, not {believed}", ply=ply)


class ModelChanged(Problem):
    """The model that serves a session's name now has other moves; the session cannot go on with it."""

    status, code = 409, "model_changed"


class NoGates(Problem):
    """The model that serves a session was exported without its gates."""

    status, code = 409, "no_gates"


class StateMismatch(Problem):
    """An imported state is not what its moves give here."""

    status, code = 409, "state_mismatch"


class BadBlob(Problem):
    """What was imported is no exported session, or is damaged."""

    status, code = 422, "bad_blob"


class TooLarge(Problem):
    """More than one request may ask for."""

    status, code = 413, "too_large"


class BadMove(Problem):
    """A move that is unknown or illegal; ``index`` says which one, ``sequence`` in which sequence."""

    status, code = 422, "bad_move"


class BadContext(Problem):
    """A context field that the game does not know, or a value that is none of its."""

    status, code = 422, "bad_context"


class Overloaded(Problem):
    """More waits already than the service takes; nothing was applied."""

    status, code = 429, "overloaded"

    def __init__(self, detail: str, retry_after_ms: int) -> None:
        """Take what is full, and in how many milliseconds there is likely to be room again."""
        super().__init__(detail, retry_after_ms=retry_after_ms)

    def headers(self) -> dict[str, str]:
        """Say when to come again, in whole seconds."""
        return {"Retry-After": str(-(-self.extra["retry_after_ms"] // 1000))}


class BadTimeout(Problem):
    """A header Request-Timeout-Ms that is no number of milliseconds."""

    status, code = 422, "bad_timeout"


class SlowBody(Problem):
    """The body did not arrive within the time that the request may take."""

    status, code = 408, "slow_body"

    def headers(self) -> dict[str, str]:
        """Close the connection, since what is left of the body would be read as the next request."""
        return {"Connection": "close"}


class DeadlinePassed(Problem):
    """The request was not through in the time it had; nothing was applied."""

    status, code = 503, "deadline_passed"


class Draining(Problem):
    """The service is stopping."""

    status, code = 503, "draining"


class EngineFailed(Problem):
    """The runtime failed; nothing of the request was applied."""

    status, code = 503, "engine_failed"


class StoreFailed(Problem):
    """The session store failed; whether the last move was applied is known by asking for the session."""

    status, code = 503, "store_failed"
