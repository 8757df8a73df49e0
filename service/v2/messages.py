"""Reads the body of an inference request, JSON with tensors in it or behind it, and writes the body of its answer."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import InvalidRequest
from service.limits import DIGITS
from service.v2.failures import BadBody
from service.v2.tensors import Spec, Tensor, read_binary, read_json, write_binary, write_json

# More than any request has use for; they bound what a refusal has to describe.
TENSORS, PARAMETERS, DIMENSIONS = 16, 64, 8


class _Part(BaseModel):
    """A part of a request; members that are not known are none of ours, as the protocol has it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    parameters: Annotated[dict[str, Any], Field(max_length=PARAMETERS)] = {}


class InputPart(_Part):
    """An input tensor, its elements in ``data`` or behind the JSON."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=DIMENSIONS, fail_fast=True)]
    datatype: str
    data: list[Any] | None = None


class OutputPart(_Part):
    """An output that is asked for."""

    name: str


class InferRequest(_Part):
    """The JSON of an inference request."""

    id: str | None = None
    inputs: Annotated[list[InputPart], Field(max_length=TENSORS, fail_fast=True)]
    outputs: Annotated[list[OutputPart], Field(max_length=TENSORS, fail_fast=True)] | None = None


class Wanted(NamedTuple):
    """An output to give, and whether its elements go behind the JSON."""

    spec: Spec
    binary: bool


def read(body: bytes, header_length: str | None) -> tuple[InferRequest, memoryview]:
    """Give the JSON of a body, and the bytes behind it; BadBody or InvalidRequest if it is not as described.

    header_length: the header Inference-Header-Content-Length; without it the body is JSON and nothing else
    """
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit()) or int(header_length[:DIGITS]) > length:
            raise BadBody("Inference-Header-Content-Length is how many bytes of the body are JSON, a whole number")
        length = int(header_length[:DIGITS])
    try:
        return InferRequest.model_validate_json(body[:length]), memoryview(body)[length:]
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        raise BadBody(f"the body is not JSON: {found[0].get('ctx', {}).get('error', '')}")
    raise InvalidRequest.of(found)


def read_inputs(request: InferRequest, behind: memoryview, specs: Mapping[str, Spec]) -> dict[str, Tensor]:
    """Give the input tensors by their names; InvalidRequest if one is not as the model says or its bytes do not fit."""
    tensors: dict[str, Tensor] = {}
    for part in request.inputs:
        spec = specs.get(part.name)
        if spec is None:
            raise InvalidRequest(f"no input is named {part.name[:100]!r}: there are {', '.join(specs)}")
        if part.name in tensors:
            raise InvalidRequest(f"{part.name} is given twice")
        if part.datatype != spec.datatype:
            raise InvalidRequest(f"{part.name} is {spec.datatype}, not {part.datatype[:100]!r}")
        tensors[part.name], behind = _read_input(part, behind, spec)
    if behind:
        raise InvalidRequest(f"{len(behind)} bytes behind the JSON belong to no input; see binary_data_size")
    for spec in specs.values():
        if spec.name not in tensors and not spec.optional:
            raise InvalidRequest(f"the input {spec.name} is missing")
    return tensors


def _read_input(part: InputPart, behind: memoryview, spec: Spec) -> tuple[Tensor, memoryview]:
    _refuse_shared_memory(part.name, part.parameters)
    size = part.parameters.get("binary_data_size")
    if size is None:
        if part.data is None:
            raise InvalidRequest(f"{part.name} has no data: neither in the JSON nor, by binary_data_size, behind it")
        return read_json(spec, part.shape, part.data), behind
    if part.data is not None:
        raise InvalidRequest(f"{part.name} has data in the JSON, and a binary_data_size as well")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(behind):
        left = f"{len(behind)} bytes are left behind the JSON"
        raise InvalidRequest(f"{part.name}: binary_data_size is no number of bytes that are there; {left}")
    return read_binary(spec, part.shape, behind[:size]), behind[size:]


def _refuse_shared_memory(name: str, parameters: Mapping[str, Any]) -> None:
    if "shared_memory_region" in parameters:
        raise InvalidRequest(f"{name}: shared memory is not served; send and take tensors in the body")


def read_outputs(request: InferRequest, specs: Mapping[str, Spec]) -> list[Wanted]:
    """Give the outputs that are asked for, all if none is named; InvalidRequest if there is no such output."""
    usual = _flag(request.parameters, "binary_data_output", "the request", False)
    if not request.outputs:
        return [Wanted(spec, usual) for spec in specs.values()]
    wanted: dict[str, Wanted] = {}
    for part in request.outputs:
        spec = specs.get(part.name)
        if spec is None:
            raise InvalidRequest(f"no output is named {part.name[:100]!r}: there are {', '.join(specs)}")
        if part.name in wanted:
            raise InvalidRequest(f"the output {part.name} is asked for twice")
        _refuse_shared_memory(part.name, part.parameters)
        if "classification" in part.parameters:
            raise InvalidRequest(f"{part.name}: classification is not served; NEXT_MOVES are the likeliest classes")
        wanted[part.name] = Wanted(spec, _flag(part.parameters, "binary_data", part.name, usual))
    return list(wanted.values())


def _flag(parameters: Mapping[str, Any], name: str, where: str, usual: bool) -> bool:
    value = parameters.get(name, usual)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{where}: {name} is true or false")
    return value


def write(head: Mapping[str, Any], tensors: Sequence[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """Give the body of an answer, and how many bytes of it are JSON, None if all are.

    tensors: the outputs, each with whether its elements go behind the JSON
    """
    outputs, behind = [], []
    for tensor, binary in tensors:
        output: dict[str, Any] = {
            "name": tensor.spec.name,
            "datatype": tensor.spec.datatype,
            "shape": list(tensor.shape),
        }
        if binary:
            behind.append(write_binary(tensor))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = write_json(tensor)
        outputs.append(output)
    json = orjson.dumps({**head, "outputs": outputs})
    return b"".join([json, *behind]), len(json) if behind else None
