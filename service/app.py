"""Reads the settings and gives the application: who is built from what, and in which order it ends."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.admission import Admission, describe_timeout
from service.background import background
from service.crowding import brief
from service.history import History
from service.keeper import Keeper
from service.limits import BodyLimit
from service.lines import Lines
from service.models import Models
from service.observing import Observed
from service.playground import Playground
from service.plays import Plays
from service.predictor import Predictor
from service.recent import Recent
from service.routes import problems
from service.routes.events import event_routes
from service.routes.failures import answer_failures
from service.routes.hot import HotRoutes
from service.routes.operations import operation_routes
from service.routes.predict import predict_routes
from service.routes.sessions import session_routes
from service.routes.stream import stream_routes
from service.security.quotas import Quotas
from service.security.setup import describe_keys, facing_browsers, gate_for
from service.sessions import open_store
from service.settings import Settings
from service.shortcut import Shortcut
from service.stopping import Stopping
from service.streams.onlookers import Onlookers
from service.streams.places import Places
from service.tracing import Traces
from service.v2.failures import ErrorsOfV2
from service.v2.repository import Repository
from service.v2.routes import v2_routes
from service.v2.sequences import Sequences

_log = logging.getLogger("nextply")

Layer = TypeVar("Layer", bound=ASGIApp)


def create_app(settings: Settings, traces: Traces | None = None) -> FastAPI:
    """Build the application; ArtifactError, StoreError or KeysError if a model, the store or keys cannot be used.

    ``traces`` are closed when it ends.
    """
    gate = gate_for(settings)
    models = Models(settings.artifacts, settings.model, settings.max_batch, settings.max_queue, brief(settings.workers))
    store = open_store(settings)
    stopping = Stopping()
    recent = Recent(settings.positions)
    keeper = Keeper(store, recent, settings)
    lines = Lines(models, recent)
    plays = Plays(lines, keeper, settings)
    predictor = Predictor(models, lines, keeper, plays, settings)
    history = History(lines, keeper, settings)
    quotas = Quotas(keeper)
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
        if traces is not None:
            traces.close()

    app = Application(
        title="Nextply",
        summary="Predicts the next move of a game while it is being played.",
        description="A request may say with the header `Request-Timeout-Ms` how long it may take; when that is over, "
        "503 says so and nothing was applied. WebSockets: docs/streams.md.",
        version=version("nextply"),
        lifespan=lifespan,
        responses=problems(401, 403, 422, 429, 503),
    )
    app.state.stopping, app.state.places, app.state.keyed = stopping, places, gate is not None
    app.include_router(predict_routes(predictor))
    app.include_router(session_routes(predictor, history, quotas))
    app.include_router(stream_routes(predictor, history, keeper, places, stopping, settings))
    app.include_router(event_routes(onlookers, places))
    app.include_router(operation_routes(models, keeper, stopping))
    repository = Repository(models, keeper, stopping, settings)
    app.include_router(v2_routes(repository, Sequences(predictor, quotas, strict=settings.strict_sequences), settings))
    answer_failures(app)
    app.put_in_front(lambda behind: BodyLimit(behind, settings))
    app.put_in_front(lambda behind: HotRoutes(behind, predictor, settings))
    admission = app.put_in_front(lambda behind: Admission(behind, settings, stopping))
    keys = None if gate is None else app.put_in_front(gate)
    app.put_in_front(ErrorsOfV2)
    app.put_in_front(facing_browsers(settings))
    if settings.playground:
        app.put_in_front(Playground)
    observed = app.put_in_front(lambda behind: Observed(behind, access_log=settings.access_log, traces=traces))
    app.state.shortcut = Shortcut(plays, observed, keys, admission)
    return app


class Application(FastAPI):
    """FastAPI, with layers in front of it that cost less than its own."""

    _front: ASGIApp | None = None

    def put_in_front(self, layer: Callable[[ASGIApp], Layer]) -> Layer:
        """Let every request pass through a layer before all that is here already, and give it."""
        front = self._front = layer(self._front or super().__call__)
        return front

    def openapi(self) -> dict[str, Any]:
        """Describe every route, and what the layers in front read."""
        if self.openapi_schema is None:
            described = super().openapi()
            describe_timeout(described["paths"])
            if self.state.keyed:
                describe_keys(described)
        assert self.openapi_schema is not None
        return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await (self._front or super().__call__)(scope, receive, send)
