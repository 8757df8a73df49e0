"""Reads the moves of running games and gives what comes next; the service keeps each game's state."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from service import schemas
from service.predictor import Predictor
from service.routes import Json, problems

Id = Annotated[schemas.SessionId, Path(description="The session's id.")]


def session_routes(predictor: Predictor) -> APIRouter:
    """Make the routes of sessions."""
    router = APIRouter(prefix="/sessions", tags=["sessions"])

    @router.post(
        "", status_code=201, response_model=schemas.CreateAnswer, responses=problems(400, 404, 409, 413, 415, 422, 503)
    )
    async def create(request: schemas.CreateRequest) -> Response:
        """Open a session."""
        answer = await predictor.create(request)
        return Json(answer, status_code=201, headers={"Location": f"/sessions/{answer['session']}"})

    @router.post(
        "/{session}/moves", response_model=schemas.MovesAnswer, responses=problems(400, 404, 409, 413, 415, 422, 503)
    )
    async def play(session: Id, request: schemas.MovesRequest) -> Response:
        """Play moves, all or none, and predict what comes next."""
        return Json(await predictor.play(session, request))

    @router.get("/{session}", response_model=schemas.SessionAnswer, responses=problems(404, 409, 422, 503))
    async def get(session: Id, top_k: Annotated[schemas.TopK, Query()] = 5) -> Response:
        """Give a session as it stands."""
        return Json(await predictor.get(session, top_k))

    @router.delete("/{session}", status_code=204, responses=problems(404, 422, 503))
    async def delete(session: Id) -> Response:
        """Forget a session."""
        await predictor.delete(session)
        return Response(status_code=204)

    return router
