"""What can go wrong with a request; each error knows its HTTP status and its stable code (RFC 9457)."""

from http import HTTPStatus
from typing import Any


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


def problem(status: int, code: str, detail: str, **extra: Any) -> dict[str, Any]:
    """Give the members of an ``application/problem+json`` body."""
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail} | extra


class UnknownModel(Problem):
    """No such model is loaded."""

    status, code = 404, "unknown_model"


class UnknownSession(Problem):
    """No such session."""

    status, code = 404, "unknown_session"


class SessionExists(Problem):
    """A session of that id is there already."""

    status, code = 409, "session_exists"


class PlyConflict(Problem):
    """The session is not at the ply the caller believes; ``ply`` says where it is."""

    status, code = 409, "ply_conflict"


class ModelChanged(Problem):
    """The model that serves a session's name now has other moves; the session cannot go on with it."""

    status, code = 409, "model_changed"


class TooLarge(Problem):
    """More than one request may ask for."""

    status, code = 413, "too_large"


class BadMove(Problem):
    """A move that is unknown or illegal; ``index`` says which one, ``sequence`` in which sequence."""

    status, code = 422, "bad_move"


class BadContext(Problem):
    """A context field that the game does not know, or a value that is none of its."""

    status, code = 422, "bad_context"


class EngineFailed(Problem):
    """The runtime failed; nothing of the request was applied."""

    status, code = 503, "engine_failed"


class StoreFailed(Problem):
    """The session store failed; whether the last move was applied is known by asking for the session."""

    status, code = 503, "store_failed"
