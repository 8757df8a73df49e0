"""Gives what is loaded and how the service is, for people and for probes."""

from fastapi import APIRouter, Response

from service import schemas
from service.errors import Draining
from service.keeper import Keeper
from service.metrics import CONTENT_TYPE, scrape
from service.models import Model, Models
from service.routes import Json, problems
from service.stopping import Stopping


def operation_routes(models: Models, keeper: Keeper, stopping: Stopping) -> APIRouter:
    """Make the routes of operations."""
    router = APIRouter(tags=["operations"])

    @router.get("/models", response_model=schemas.ModelsAnswer)
    async def list_models() -> Response:
        """List the loaded models."""
        newest = models.get(None)
        return Json({"models": [_describe(model, model is newest) for model in models]})

    @router.post("/models/reload", response_model=schemas.ReloadAnswer, responses=problems(429))
    async def reload() -> Response:
        """Load what is new in the folder of models and drop what is gone; other processes follow by themselves."""
        changes = await models.reload()
        failed = [{"model": name, "problem": problem} for name, problem in changes.failed.items()]
        return Json({"loaded": changes.loaded, "dropped": changes.dropped, "failed": failed})

    @router.get("/health/live", response_model=schemas.HealthAnswer)
    async def live() -> Response:
        """Say that the process runs."""
        return Json({"status": "live"})

    @router.get("/health/ready", response_model=schemas.HealthAnswer, responses=problems(503))
    async def ready() -> Response:
        """Say that models are loaded, the store answers and the service is not about to stop."""
        if stopping.announced:
            raise Draining("the service is about to stop")
        await keeper.ready()
        return Json({"status": "ready"})

    @router.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE: {}}}})
    async def metrics() -> Response:
        """Give counters as Prometheus reads them."""
        return Response(scrape(), headers={"Content-Type": CONTENT_TYPE})

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
