"""Reads tensors of the Open Inference Protocol, from JSON or from bytes, and writes them.

What is read costs memory in proportion to what was sent, whatever a shape claims.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from service.errors import InvalidRequest

# Text; in binary each is its length, 4 bytes little-endian, and its bytes.
BYTES = "BYTES"
INT64 = "INT64"
FP32 = "FP32"
_NUMBERS: dict[str, np.dtype[Any]] = {INT64: np.dtype("<i8"), FP32: np.dtype("<f4")}
_LENGTH = struct.Struct("<I")
_INT64_RANGE = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a model says of an input or output; a size of −1 is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor with its elements in row-major order: text of BYTES, whole numbers of INT64, floats of FP32."""

    spec: Spec
    shape: Sequence[int]
    values: Sequence[Any]


def read_json(spec: Spec, shape: Sequence[int], data: list[Any]) -> Tensor:
    """Read elements that JSON lists, flat or nested as the shape is; InvalidRequest if they do not fit."""
    for _ in shape[1:]:
        if not data or not all(isinstance(item, list) for item in data):
            break
        data = list(chain.from_iterable(data))
    _check_count(spec, shape, len(data))
    for index, item in enumerate(data):
        if not _fits(spec.datatype, item):
            raise InvalidRequest(f"{spec.name}: element {index} is not {_EXPECTED[spec.datatype]}")
    return Tensor(spec, shape, data)


def _fits(datatype: str, item: Any) -> bool:
    if datatype == BYTES:
        return isinstance(item, str)
    if isinstance(item, bool):
        return False
    if datatype == INT64:
        return isinstance(item, int) and item in _INT64_RANGE
    return isinstance(item, int | float)


_EXPECTED = {BYTES: "a string", INT64: "a whole number of 64 bits", FP32: "a number"}


def read_binary(spec: Spec, shape: Sequence[int], raw: bytes | memoryview) -> Tensor:
    """Read elements from their bytes, which must hold them and nothing else; InvalidRequest if they do not."""
    if spec.datatype == BYTES:
        texts = _read_texts(spec, raw)
        _check_count(spec, shape, len(texts))
        return Tensor(spec, shape, texts)
    dtype = _NUMBERS[spec.datatype]
    if len(raw) % dtype.itemsize:
        raise InvalidRequest(f"{spec.name}: {len(raw)} bytes are no whole number of {spec.datatype} elements")
    _check_count(spec, shape, len(raw) // dtype.itemsize)
    return Tensor(spec, shape, np.frombuffer(raw, dtype).tolist())


def _read_texts(spec: Spec, raw: bytes | memoryview) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(raw):
        begin = at + _LENGTH.size
        if begin > len(raw):
            raise InvalidRequest(f"{spec.name}: its bytes end inside the length of element {len(texts)}")
        (length,) = _LENGTH.unpack_from(raw, at)
        at = begin + length
        if at > len(raw):
            raise InvalidRequest(f"{spec.name}: its bytes end inside element {len(texts)}, of {length} bytes")
        try:
            texts.append(str(raw[begin:at], "utf-8"))
        except UnicodeDecodeError:
            raise InvalidRequest(f"{spec.name}: element {len(texts)} is not UTF-8") from None
    return texts


def _check_count(spec: Spec, shape: Sequence[int], found: int) -> None:
    if math.prod(shape) != found:
        raise InvalidRequest(f"{spec.name}: its shape {list(shape)} and its {found} elements do not fit together")


def write_json(tensor: Tensor) -> list[Any]:
    """Give the elements for JSON; a float is the very float32, which a reader of float32 gets back to the bit."""
    if tensor.spec.datatype == BYTES:
        return list(tensor.values)
    numbers: list[Any] = _numbers(tensor).tolist()
    return numbers


def write_binary(tensor: Tensor) -> bytes:
    """Give the bytes of the elements."""
    if tensor.spec.datatype == BYTES:
        texts = [text.encode() for text in tensor.values]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(text)), text) for text in texts))
    return _numbers(tensor).tobytes()


def _numbers(tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(tensor.values, _NUMBERS[tensor.spec.datatype])
