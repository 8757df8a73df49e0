"""A client of Nextply, which predicts the next move of a running game: sync and async, typed, safe to retry."""

from nextply_client import errors
from nextply_client.answers import Candidate, Event, ModelId, Played, Prediction, Predictions, SessionState, Standing
from nextply_client.async_client import AsyncClient, AsyncSession
from nextply_client.calls import Line, Step
from nextply_client.client import Client, Session
from nextply_client.errors import NextplyError, PlyConflict, Problem, UnknownSession, Unreachable
from nextply_client.retries import Retries
from nextply_client.sockets import AsyncStream, Stream

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "AsyncStream",
    "Candidate",
    "Client",
    "Event",
    "Line",
    "ModelId",
    "NextplyError",
    "Played",
    "PlyConflict",
    "Prediction",
    "Predictions",
    "Problem",
    "Retries",
    "Session",
    "SessionState",
    "Standing",
    "Step",
    "Stream",
    "UnknownSession",
    "Unreachable",
    "errors",
]
