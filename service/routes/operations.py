"""Gives what is loaded and how the service is, for people and for probes."""

from fastapi import APIRouter, Response

from service import schemas
from service.models import Model, Models
from service.predictor import Predictor
from service.routes import Json, problems


def operation_routes(models: Models, predictor: Predictor) -> APIRouter:
    """Make the routes of operations."""
    router = APIRouter(tags=["operations"])

    @router.get("/models", response_model=schemas.ModelsAnswer)
    async def list_models() -> Response:
        """List the loaded models."""
        newest = models.get(None)
        return Json({"models": [_describe(model, model is newest) for model in models]})

    @router.get("/health/live", response_model=schemas.HealthAnswer)
    async def live() -> Response:
        """Say that the process runs."""
        return Json({"status": "live"})

    @router.get("/health/ready", response_model=schemas.HealthAnswer, responses=problems(503))
    async def ready() -> Response:
        """Say that models are loaded and the store answers."""
        await predictor.ready()
        return Json({"status": "ready"})

    return router


def _describe(model: Model, default: bool) -> schemas.ModelAnswer:
    return {
        "name": model.name,
        "version": model.version,
        "default": default,
        "game": model.game.name,
        "moves": len(model.game.vocabulary),
        "context": [field.name for field in model.game.context],
        "cell": model.manifest.cell,
        "precision": model.manifest.precision,
    }
