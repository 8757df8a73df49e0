"""Reads whole games and gives what comes next in each."""

from fastapi import APIRouter, Response

from service import requests, schemas
from service.predictor import Predictor
from service.routes import Json, problems


def predict_routes(predictor: Predictor) -> APIRouter:
    """Make the routes of stateless prediction."""
    router = APIRouter(tags=["predict"])

    @router.post("/predict", response_model=schemas.PredictAnswer, responses=problems(400, 404, 413, 415, 422, 503))
    async def predict(request: requests.PredictRequest) -> Response:
        """Predict the next move of each sequence; nothing is kept."""
        return Json(await predictor.predict(request))

    return router
