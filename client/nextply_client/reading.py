"""Reads JSON and gives the dataclasses of answers, and the other way round."""

import json
import types
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from nextply_client.errors import BadAnswer

T = TypeVar("T")


def read(kind: type[T], content: bytes | str) -> T:
    """Read an answer's body; BadAnswer if it is not what the service documents.

    Members that this version of the client does not know are passed over.
    """
    try:
        return from_json(kind, json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadAnswer(f"the answer is no {kind.__name__}: {error}") from error


def from_json(kind: type[T], value: Any) -> T:
    """Give a value of a kind from what JSON has for it."""
    return cast(T, _convert(kind, value))


def to_json(value: Any) -> Any:
    """Give what JSON has for a value; what is None is left out."""
    if is_dataclass(value):
        members = ((member.name, getattr(value, member.name)) for member in fields(value))
        return {name: to_json(inner) for name, inner in members if inner is not None}
    if isinstance(value, list):
        return [to_json(inner) for inner in value]
    if isinstance(value, dict):
        return {name: to_json(inner) for name, inner in value.items()}
    return value


@cache
def _members(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _convert(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        known = _members(kind)
        return kind(**{name: _convert(known[name], inner) for name, inner in value.items() if name in known})
    origin, inside = get_origin(kind), get_args(kind)
    if origin is list:
        return [_convert(inside[0], inner) for inner in value]
    if origin is dict:
        return {name: _convert(inside[1], inner) for name, inner in value.items()}
    if origin in (types.UnionType, Union):
        # Of what may be absent, the first is what it is otherwise; the rest are plain values.
        return None if value is None else _convert(inside[0], value)
    return value
