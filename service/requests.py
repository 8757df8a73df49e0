"""What requests look like; they are checked by pydantic, and nothing in them is guessed at."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)
from pydantic_core import PydanticCustomError

from service.names import new_id
from service.security.caller import kept

Move = Annotated[str, StringConstraints(min_length=1, max_length=64)]
# A list stops at its first error: a body of a million would cost seconds and gigabytes to describe.
MoveList = Annotated[list[Move], Field(fail_fast=True)]
Moves = Annotated[MoveList, Field(min_length=1)]
TopK = Annotated[int, Field(ge=1, le=100, description="How many of the likeliest moves to give.")]
# What was read is the id under which the session is kept: a name means another session to each tenant.
SessionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:~-]{1,128}$"), AfterValidator(kept)]
ModelName = Annotated[str, Field(description="`name` for the newest version, or `name/version`.", max_length=256)]
_FIELDS = 16


def _few(value: Any) -> Any:
    """Pass what has few members: pydantic looks at all of them before it counts, and describes each that is wrong."""
    if isinstance(value, dict) and len(value) > _FIELDS:
        raise PydanticCustomError("many_fields", "a context has at most {most} members", {"most": _FIELDS})
    return value


def _made_if_none(value: Any) -> Any:
    return new_id() if value is None else value


NewSessionId = Annotated[SessionId, BeforeValidator(_made_if_none, json_schema_input_type=SessionId | None)]
Context = Annotated[
    dict[str, int | str | None],
    BeforeValidator(_few),
    Field(
        max_length=_FIELDS,
        description="What is known beside the moves, for chess `white_elo`, `black_elo`, `time_control`.",
    ),
]


class Request(BaseModel):
    """A request body: unknown members and other types are refused, so that a slip is noticed and not guessed at."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sequence(Request):
    """A game so far, with what is known about it."""

    moves: MoveList
    context: Context = {}


def _kind(value: Any) -> str:
    return "moves" if isinstance(value, list) else "object"


Sequences = list[
    Annotated[Annotated[MoveList, Tag("moves")] | Annotated[Sequence, Tag("object")], Discriminator(_kind)]
]


class PredictRequest(Request):
    """Games whose next move is asked for; nothing of them is kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"sequences": [["e2e4", "e7e5", "g1f3"]]},
                {
                    "sequences": [["e4", "c5"], {"moves": ["d4"], "context": {"white_elo": 1500, "black_elo": 1600}}],
                    "top_k": 3,
                    "score": True,
                },
                {"sequences": [["e2e4", "e7e5"]], "top_k": 1, "each_ply": True},
            ]
        }
    )

    sequences: Annotated[Sequences, Field(min_length=1, fail_fast=True)]
    model: ModelName | None = None
    top_k: TopK = 5
    score: bool = Field(False, description="Also give −ln p of each move that was played.")
    each_ply: bool = Field(False, description="Also give the prediction before the first move, after it, … .")
    legal_only: bool = Field(True, description="False gives the distribution over all moves, legal or not.")


class CreateRequest(Request):
    """A session to open, with the moves that were played already."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"moves": ["e2e4"], "context": {"white_elo": 1500, "black_elo": 1500}}]}
    )

    session: NewSessionId = Field(
        None, validate_default=True, description="The session's id; the server makes one if there is none."
    )
    model: ModelName | None = None
    context: Context = {}
    moves: MoveList = []
    top_k: TopK = 5


class MovesRequest(Request):
    """Moves to play in a session."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"moves": ["e7e5", "g1f3"], "ply": 1}]})

    moves: Moves
    ply: int | None = Field(
        None,
        ge=0,
        description="How many moves were played before these. With it a request can be sent again: "
        "the same moves at the same ply are applied once and get the same answer.",
    )
    top_k: TopK = 5


class Step(Request):
    """Moves to play in one session of many."""

    session: SessionId
    moves: Moves
    ply: int | None = Field(None, ge=0, description="How many moves were played before these.")


class StepsRequest(Request):
    """Moves to play in many sessions; each item succeeds or fails on its own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"steps": [{"session": "board-1", "moves": ["e2e4"]}, {"session": "board-2", "moves": ["d4"]}]}
            ]
        }
    )

    steps: Annotated[list[Step], Field(min_length=1, fail_fast=True)]
    top_k: TopK = 5


class TakebackRequest(Request):
    """A ply to go back to; the moves after it are undone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to_ply": 10}]})

    to_ply: int = Field(ge=0, description="How many moves are left.")
    ply: int | None = Field(None, ge=0, description="How many moves you believe were played.")
    top_k: TopK = 5


class ForkRequest(Request):
    """A new session that shares another's past."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"at_ply": 10}, {}]})

    session: NewSessionId = Field(
        None, validate_default=True, description="The new session's id; the server makes one if there is none."
    )
    at_ply: int | None = Field(None, ge=0, description="How many moves are shared; all if there is none.")
    top_k: TopK = 5


class SessionsQuery(BaseModel):
    """Which sessions to list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(100, ge=1, le=1000, description="How many sessions a page holds, more or less.")
    after: str | None = Field(None, max_length=256, description="`after` of the page before.")
    prefix: Annotated[str, StringConstraints(pattern="^[^/]*$", max_length=128), AfterValidator(kept)] = Field(
        "", validate_default=True, description="Only sessions whose id begins so."
    )
    model: str | None = Field(None, max_length=256, description="Only sessions of a model: `name` or `name/version`.")
    min_ply: int = Field(0, ge=0, description="Only sessions with so many moves or more.")
    min_idle: float = Field(0, ge=0, description="Only sessions that were not used for so many seconds or longer.")
