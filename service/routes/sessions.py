"""Reads the moves of running games and gives what comes next; the service keeps each game's state."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from service import requests, schemas
from service.history import History
from service.predictor import Predictor
from service.routes import Json, problems
from service.security.quotas import Quotas

Id = Annotated[requests.SessionId, Path(description="The session's id.")]
Units = Annotated[
    int,
    Query(
        ge=0,
        le=64,
        description="How many units of each tensor of long memory to give, those that remember longest in this game.",
    ),
]
_BLOB = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_CREATE = problems(400, 404, 409, 413, 415, 422, 429, 503)
_LOOK = problems(404, 409, 422, 429, 503)


def session_routes(predictor: Predictor, history: History, quotas: Quotas) -> APIRouter:
    """Make the routes of sessions."""
    router = APIRouter(tags=["sessions"])

    @router.post("/sessions", status_code=201, response_model=schemas.CreateAnswer, responses=_CREATE)
    async def create(request: requests.CreateRequest) -> Response:
        """Open a session."""
        async with quotas.room():
            return _created(await predictor.create(request))

    @router.get("/sessions", response_model=schemas.SessionsAnswer, responses=problems(422, 429, 503))
    async def listed(query: Annotated[requests.SessionsQuery, Query()]) -> Response:
        """List sessions, a page at a time, in no promised order."""
        return Json(await history.listed(query))

    @router.post("/sessions/{session}/moves", response_model=schemas.MovesAnswer, responses=_CREATE)
    async def play(session: Id, request: requests.MovesRequest) -> Response:
        """Play moves, all or none, and predict what comes next."""
        return Json(await predictor.play(session, request))

    @router.post("/sessions/{session}/peek", response_model=schemas.MovesAnswer, responses=_CREATE)
    async def peek(session: Id, request: requests.MovesRequest) -> Response:
        """Predict as if moves were played; nothing of them is kept."""
        return Json(await predictor.peek(session, request))

    @router.post("/sessions/{session}/takeback", response_model=schemas.StandsAnswer, responses=_CREATE)
    async def takeback(session: Id, request: requests.TakebackRequest) -> Response:
        """Undo the moves after a ply."""
        return Json(await history.takeback(session, request))

    @router.post("/sessions/{session}/fork", status_code=201, response_model=schemas.CreateAnswer, responses=_CREATE)
    async def fork(session: Id, request: requests.ForkRequest) -> Response:
        """Open a new session that shares this one's past."""
        async with quotas.room():
            return _created(await history.fork(session, request))

    @router.get("/sessions/{session}", response_model=schemas.SessionAnswer, responses=_LOOK)
    async def get(session: Id, top_k: Annotated[requests.TopK, Query()] = 5) -> Response:
        """Give a session as it stands."""
        return Json(await predictor.get(session, top_k))

    @router.get("/sessions/{session}/explain", response_model=schemas.ExplainAnswer, responses=_LOOK)
    async def explain(session: Id, units: Units = 0) -> Response:
        """Give what the gates of the network did at every ply, layer by layer, and what its memory held.

        Long memory is c of each layer, h of a cell without c, and every state of a graph of another make; what is
        kept as uint8 is left out, and all of it where the states of the game take more than 64 MiB. Units remember long
        whose values at one ply and the next go together (autocorrelation at lag 1).
        """
        return Json(await history.explain(session, units))

    @router.delete("/sessions/{session}", status_code=204, responses=problems(404, 422, 429, 503))
    async def delete(session: Id) -> Response:
        """Forget a session."""
        await predictor.delete(session)
        return Response(status_code=204)

    @router.get("/sessions/{session}/state", response_class=Response, responses={200: {"content": _BLOB}, **_LOOK})
    async def export(session: Id) -> Response:
        """Give a session, its moves and its state, as one blob, to be opened elsewhere or later."""
        return Response(await history.export(session), media_type="application/octet-stream")

    @router.put(
        "/sessions/{session}/state",
        status_code=201,
        response_model=schemas.CreateAnswer,
        responses={200: {"model": schemas.CreateAnswer, "description": "It was there already."}, **_CREATE},
        openapi_extra={"requestBody": {"content": _BLOB, "required": True}},
    )
    async def restore(
        session: Id,
        request: Request,
        rebuild: Annotated[bool, Query(description="Compute the state anew, whatever the blob's is.")] = False,
    ) -> Response:
        """Open a session from a blob; its moves must be legal, and its state what they give."""
        body = await request.body()
        async with quotas.room():
            made, answer = await history.restore(session, body, rebuild=rebuild)
        return _created(answer) if made else Json(answer)

    @router.post("/steps", response_model=schemas.StepsAnswer, responses=problems(400, 413, 415, 422, 429, 503))
    async def steps(request: requests.StepsRequest) -> Response:
        """Play moves in many sessions; each item succeeds or fails on its own."""
        return Json(await predictor.steps(request))

    return router


def _created(answer: schemas.CreateAnswer) -> Response:
    return Json(answer, status_code=201, headers={"Location": f"/sessions/{answer['session']}"})
