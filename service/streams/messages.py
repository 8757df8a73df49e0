"""Reads what a client says over a WebSocket and gives what it asks for, or the problem with it."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Discriminator, Field, JsonValue, TypeAdapter, ValidationError
from pydantic import Tag as Named
from pydantic_core import PydanticCustomError, from_json

from service import requests
from service.errors import InvalidRequest, Problem
from service.limits import check_moves, count_members, too_many_members
from service.names import shown
from service.settings import Settings

_PING_BYTES = 1024
_WIDEST = 2**63


def _small(value: JsonValue) -> JsonValue:
    """Pass what a pong can repeat."""
    try:
        written = orjson.dumps(value)
    except TypeError:
        written = b""
    if len(written) > _PING_BYTES:
        raise PydanticCustomError("large_ping", "a ping holds at most {most} bytes", {"most": _PING_BYTES})
    if not written or orjson.loads(written) != value:
        raise PydanticCustomError("odd_ping", "a ping holds no numbers beyond 64 bits")
    return value


Tag = Annotated[str, Field(max_length=128)] | Annotated[int, Field(ge=-_WIDEST, lt=_WIDEST)]


class _Ask(requests.Request):
    session: requests.SessionId | None = Field(None, description="Which session; the path's if that names one.")
    tag: Tag | None = Field(None, description="Given back with the answer.")


class Play(_Ask, requests.MovesRequest):
    """Moves to play."""

    do: Literal["play"] = "play"


class Peek(_Ask, requests.MovesRequest):
    """Moves to answer as if they were played."""

    do: Literal["peek"]


class Takeback(_Ask, requests.TakebackRequest):
    """A ply to go back to."""

    do: Literal["takeback"]


class Get(_Ask):
    """A look at the session as it stands."""

    do: Literal["get"]
    top_k: requests.TopK = 5


class Ping(requests.Request):
    """Something to give back at once."""

    ping: Annotated[JsonValue, AfterValidator(_small)]


Ask = Play | Peek | Takeback | Get | Ping


def _kind(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return "ping" if "ping" in value else str(value.get("do", "play"))


_KINDS = Discriminator(
    _kind,
    custom_error_type="unknown_message",
    custom_error_message="a message is an object with a ping, or with something to do: play, peek, takeback or get",
)
_ASK: TypeAdapter[Ask] = TypeAdapter(
    Annotated[
        Annotated[Play, Named("play")]
        | Annotated[Peek, Named("peek")]
        | Annotated[Takeback, Named("takeback")]
        | Annotated[Get, Named("get")]
        | Annotated[Ping, Named("ping")],
        _KINDS,
    ]
)
_TAG: TypeAdapter[Tag] = TypeAdapter(Tag)
_SESSION: TypeAdapter[str] = TypeAdapter(requests.SessionId)


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the session it is about, None for a ping; its tag; and what it asks for, or why that cannot be."""

    session: str | None
    tag: Tag | None
    ask: Ask | Problem


def read_message(text: str, session: str | None, settings: Settings) -> Message:
    """Read a message about ``session``, or about the one that it names itself if that is None.

    ValueError if it is not JSON; whatever else is wrong with it is the problem in the message.
    """
    if too_many_members(count_members(text.encode(errors="replace")), settings):
        raise ValueError("with fewer members")
    try:
        ask = _ASK.validate_json(text)
    except ValidationError as error:
        return _refused(text, session, error)
    if isinstance(ask, Ping):
        return Message(None, None, ask)
    try:
        named = _one_session(ask.session, session)
        if isinstance(ask, Play | Peek):
            check_moves(len(ask.moves), settings)
    except Problem as problem:
        return Message(session or ask.session, ask.tag, problem)
    return Message(named, ask.tag, ask)


def _one_session(asked: str | None, session: str | None) -> str:
    if asked is None and session is None:
        raise InvalidRequest("session: say which session the message is about")
    if None not in (asked, session) and asked != session:
        name = shown(session or "")
        raise InvalidRequest(f"session: this connection is about {name!r} alone; /stream takes all sessions")
    return asked or session or ""


def _refused(text: str, session: str | None, error: ValidationError) -> Message:
    """Name the session and the tag of a message that is not as described, as far as they can be read."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        raise ValueError(found[0]["msg"].removeprefix("Invalid JSON: ")) from None
    # Where it is begins with the kind of message, which the client did not write.
    problem = InvalidRequest.of(found, within=1)
    value = from_json(text)
    members = value if isinstance(value, dict) else {}
    named = session or _read(_SESSION, members.get("session"))
    return Message(named, _read(_TAG, members.get("tag")), problem)


def _read(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        return None
