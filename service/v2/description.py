"""Gives what OpenAPI is told of a call of the protocol: what it reads, what it answers, and what can go wrong."""

import re
from typing import Any, NamedTuple

from service.routes import RETRY_AFTER
from service.v2 import schemas
from service.v2.messages import DIMENSIONS, PARAMETERS, TENSORS
from service.v2.repository import OUTPUTS
from service.v2.tensors import BYTES, INT64

_ERRORS = {
    400: "The body or one of its encodings cannot be read, or the server is not ready.",
    401: "The service has keys, and the request has none, or none that is good.",
    403: "The key may not do this, or its tenant has its most sessions already.",
    404: "No such model or sequence.",
    408: "The body did not arrive in the time that the request may take.",
    409: "The sequence is running or stands at another ply, or the model cannot be loaded or unloaded.",
    413: "More than a request may hold.",
    415: "The body is compressed in a way that is not known here.",
    422: "What was sent can be read and is wrong; nothing was applied.",
    429: "More than the service can do now; `Retry-After` says when to try again.",
    503: "The engine or the store failed, the request's time is over, or the service is stopping.",
}
_TEXT, _FLAG, _WHOLE = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
_FEW = {"maxProperties": PARAMETERS}
_ENCODINGS = ("identity", "gzip", "deflate")
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_PATH = {
    "model": {"description": "A model's name.", "schema": {"type": "string", "minLength": 1}, "example": "chess"},
    "version": {"description": "One of its versions.", "schema": {"type": "string", "minLength": 1}, "example": "2"},
}


def _object(required: tuple[str, ...] = (), **members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(required)}


def _several(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "maxItems": most}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _input(name: str, datatype: str, element: dict[str, Any]) -> dict[str, Any]:
    flat = {"type": "array", "items": element}
    return _object(
        ("name", "datatype", "shape"),
        name={"const": name},
        datatype={"const": datatype},
        shape=_several(_WHOLE, DIMENSIONS),
        data=_optional({"anyOf": [flat, {"type": "array", "items": flat}]}),
        parameters=_object(binary_data_size=_optional(_WHOLE)) | _FEW,
    )


_MOVE = {"type": "string", "minLength": 1, "maxLength": 64}
_INPUT = {"anyOf": [_input("MOVES", BYTES, _MOVE), _input("TOP_K", INT64, {"type": "integer"})]}
_OUTPUT = _object(("name",), name={"enum": list(OUTPUTS)}, parameters=_object(binary_data=_FLAG) | _FEW)
_OF_REQUEST = _object(
    sequence_id={"anyOf": [{"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}, _TEXT, {"type": "null"}]},
    sequence_start=_FLAG,
    sequence_end=_FLAG,
    ply=_optional(_WHOLE),
    timeout=_optional({**_WHOLE, "description": "Microseconds that the request may take."}),
    priority={"description": "Read, and means nothing."},
    binary_data_output=_FLAG,
)
_CONTEXT = {"type": ["integer", "string", "null"], "description": "What is known of the game."}
_INFER = _object(
    ("inputs",),
    id=_optional(_TEXT),
    inputs=_several(_INPUT, TENSORS),
    outputs=_optional(_several(_OUTPUT, TENSORS)),
    parameters=_OF_REQUEST | _FEW | {"additionalProperties": _CONTEXT},
)
_EXAMPLE = {
    "inputs": [
        {"name": "MOVES", "datatype": "BYTES", "shape": [2], "data": ["e4", "e5"]},
        {"name": "TOP_K", "datatype": "INT64", "shape": [1], "data": [3]},
    ],
    "parameters": {"sequence_id": 42, "sequence_start": True},
}


class Call(NamedTuple):
    """A call: the type of its answer, which statuses its own errors have, the schema of its body if it reads one."""

    answer: Any
    errors: tuple[int, ...] = ()
    body: dict[str, Any] | None = None


_ALWAYS = (401, 403, 422, 429, 503)
_READS = (400, 408, 413, 415)
SERVER = Call(schemas.ServerAnswer)
LIVE = Call(schemas.LiveAnswer)
READY = Call(schemas.ReadyAnswer, (400,))
MODEL_READY, METADATA, CONFIG, STATISTICS = (
    Call(answer, (404,))
    for answer in (
        schemas.ModelReadyAnswer,
        schemas.MetadataAnswer,
        schemas.ConfigAnswer,
        schemas.StatisticsAnswer,
    )
)
ALL_STATISTICS = Call(schemas.StatisticsAnswer)
INDEX = Call(list[schemas.ListedModel], _READS, _object(ready=_FLAG))
LOAD = Call(schemas.DoneAnswer, (*_READS, 404, 409), _object(parameters=_object() | {"maxProperties": 0}))
UNLOAD = Call(schemas.DoneAnswer, (*_READS, 404, 409), _object())
INFER = Call(schemas.InferAnswer, (*_READS, 404, 409), _INFER | {"examples": [_EXAMPLE]})


def responses(call: Call) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a call beside its usual one."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": _ERRORS[status], "model": schemas.ErrorAnswer}
        for status in sorted({*call.errors, *_ALWAYS})
    }
    found[429]["headers"] = RETRY_AFTER
    if call is INFER:
        length = {"description": "How many bytes are JSON, if tensors follow it.", "schema": _WHOLE}
        encoded = {
            "description": "How the body is compressed, if it is.",
            "schema": {"type": "string", "enum": _ENCODINGS},
        }
        headers = {"Inference-Header-Content-Length": length, "Content-Encoding": encoded}
        found[200] = {"content": _BINARY, "headers": headers}
    return found


def request(path: str, call: Call) -> dict[str, Any]:
    """Describe what a call reads."""
    found: dict[str, Any] = {"parameters": [_parameter(name) for name in re.findall(r"{(\w+)}", path)]}
    if call.body is not None:
        found["parameters"].append(
            _header("Content-Encoding", "How the body is compressed.", {"type": "string", "enum": ["", *_ENCODINGS]})
        )
        found["requestBody"] = {"content": {"application/json": {"schema": call.body}}, "required": call is INFER}
    if call is INFER:
        words = "How many bytes of the body are JSON; the tensors behind it follow in their order."
        found["parameters"].append(_header("Inference-Header-Content-Length", words, _WHOLE))
        found["requestBody"]["content"] |= _BINARY
    return found


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True} | _PATH[name]


def _header(name: str, words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": words, "schema": schema}
