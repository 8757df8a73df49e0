"""Reads the settings and gives the application: who is built from what, and in which order it ends."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.admission import Admission
from service.background import background
from service.errors import InvalidRequest, Problem, problem
from service.history import History
from service.keeper import Keeper
from service.limits import BodyLimit
from service.lines import Lines
from service.models import Models
from service.predictor import Predictor
from service.routes import ProblemJson, problems
from service.routes.events import event_routes
from service.routes.operations import operation_routes
from service.routes.predict import predict_routes
from service.routes.sessions import session_routes
from service.routes.stream import stream_routes
from service.sessions import open_store
from service.settings import Settings
from service.stopping import Stopping
from service.streams.onlookers import Onlookers
from service.streams.places import Places

_log = logging.getLogger("nextply")


def create_app(settings: Settings) -> FastAPI:
    """Build the application; ArtifactError or StoreError if a model or the store cannot be used."""
    models = Models(settings.artifacts, settings.model, settings.max_batch, settings.max_queue)
    store = open_store(settings)
    stopping = Stopping()
    keeper = Keeper(store, settings)
    lines = Lines(models, settings.positions)
    predictor = Predictor(models, lines, keeper, settings)
    history = History(lines, keeper, settings)
    onlookers, places = Onlookers(keeper, lines, stopping), Places(settings.max_streams)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for model in models:
            _log.info("serving %s/%s (%s, %s)", model.name, model.version, model.game.name, model.manifest.precision)
        async with background(models, keeper, settings):
            yield
        keeper.close()
        models.close()
        store.close()

    app = FastAPI(
        title="Nextply",
        summary="Predicts the next move of a game while it is being played.",
        description="A request may say with the header `Request-Timeout-Ms` how long it may take; when that is over, "
        "503 says so and nothing was applied. WebSockets: docs/streams.md.",
        version=version("nextply"),
        lifespan=lifespan,
        responses=problems(422, 429, 503),
    )
    app.state.stopping, app.state.places = stopping, places
    app.add_middleware(BodyLimit, limit=settings.max_body)
    app.add_middleware(Admission, settings=settings, stopping=stopping)
    app.include_router(predict_routes(predictor))
    app.include_router(session_routes(predictor, history))
    app.include_router(stream_routes(predictor, history, keeper, places, stopping, settings))
    app.include_router(event_routes(onlookers, places))
    app.include_router(operation_routes(models, keeper, stopping))
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)
    return app


async def _answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    if error.__cause__ is not None:
        _log.error("%s", error, exc_info=error.__cause__)
    return ProblemJson.of(error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Say what is wrong with a body: 400 if it is not JSON, 422 if it is not as described."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        return _problem(400, "malformed_json", f"the body is not JSON: {reason} at byte {found[0]['loc'][-1]}")
    if found[0]["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return _problem(415, "unsupported_media_type", "send JSON with the header content-type: application/json")
    return await _answer_problem(request, InvalidRequest.of(found))


async def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        return _problem(400, "malformed_json", f"the body cannot be read as JSON: {error.__cause__}")
    codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
    return _problem(error.status_code, codes.get(error.status_code, "http_error"), str(error.detail), error.headers)


async def _answer_bug(_: Request, error: Exception) -> Response:
    """Answer what nobody thought of; the log has the trace, the answer has not."""
    return _problem(500, "internal_error", "something went wrong in the service; the log says what")


def _problem(status: int, code: str, detail: str, headers: Any = None, **extra: Any) -> Response:
    return ProblemJson(problem(status, code, detail, **extra), status_code=status, headers=headers)
