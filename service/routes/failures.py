"""Reads what went wrong with a request and gives the answer that says so, whatever part of the service found it."""

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.errors import InvalidRequest, Problem, problem
from service.routes import ProblemJson

_log = logging.getLogger("nextply")


def answer_failures(app: FastAPI) -> None:
    """Let an application answer every failure as a problem."""
    for kind, answer in (
        (Problem, _of_problem),
        (RequestValidationError, _of_invalid),
        (HTTPException, _of_http),
        (Exception, _of_bug),
    ):
        app.add_exception_handler(kind, answer)


def of_problem(error: Problem) -> Response:
    """Answer a problem; if something else caused it, the log has it."""
    if error.__cause__ is not None:
        _log.error("%s", error, exc_info=error.__cause__)
    return ProblemJson.of(error)


def of_bug() -> Response:
    """Answer what nobody thought of; the log has the trace, the answer has not."""
    return _problem(500, "internal_error", "something went wrong in the service; the log says what")


def of_failure(error: BaseException, path: str) -> Response:
    """Answer whatever kept a request to ``path`` from its answer."""
    if isinstance(error, Problem):
        return of_problem(error)
    _log.error("a request to %s could not be answered", path, exc_info=error)
    return of_bug()


async def _of_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return of_problem(error)


async def _of_invalid(request: Request, error: Exception) -> Response:
    """Say what is wrong with a body: 400 if it is not JSON, 422 if it is not as described."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        return _problem(400, "malformed_json", f"the body is not JSON: {reason} at byte {found[0]['loc'][-1]}")
    if found[0]["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return _problem(415, "unsupported_media_type", "send JSON with the header content-type: application/json")
    return of_problem(InvalidRequest.of(found))


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        return _problem(400, "malformed_json", f"the body cannot be read as JSON: {error.__cause__}")
    if error.status_code == 405:
        error.headers = {"Allow": _allowed(request)}
    codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
    return _problem(error.status_code, codes.get(error.status_code, "http_error"), str(error.detail), error.headers)


def _allowed(request: Request) -> str:
    """Give the methods of all routes of a path; a router names those of the first one alone."""

    def serves(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(filter(serves, ("GET", "POST", "PUT", "PATCH", "DELETE")))


async def _of_bug(_: Request, error: Exception) -> Response:
    return of_bug()


def _problem(status: int, code: str, detail: str, headers: Any = None) -> Response:
    return ProblemJson(problem(status, code, detail), status_code=status, headers=headers)
