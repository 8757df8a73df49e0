"""Tensors and bodies of the protocol: what is written is read back, and what anybody may send breaks nothing."""

import contextlib
import gzip
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidRequest, Problem, TooLarge
from service.v2 import messages
from service.v2.encodings import BadEncoding, UnknownEncoding, accepted, pack, unpack
from service.v2.repository import INPUTS, OUTPUTS
from service.v2.tensors import BYTES, FP32, INT64, Spec, Tensor, read_binary, read_json, write_binary, write_json

ELEMENTS = {
    BYTES: st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FP32: st.floats(width=32, allow_nan=False, allow_infinity=False),
}


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(sorted(ELEMENTS)))
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    size = int(np.prod(shape))
    values = draw(st.lists(ELEMENTS[datatype], min_size=size, max_size=size))
    return Tensor(Spec("X", datatype, (-1,)), shape, values)


@given(tensors())
def test_a_tensor_is_read_as_it_was_written(tensor: Tensor):
    from_bytes = read_binary(tensor.spec, tensor.shape, write_binary(tensor))
    json: Any = orjson.loads(orjson.dumps(write_json(tensor)))
    from_json = read_json(tensor.spec, tensor.shape, json)
    assert from_bytes == from_json == tensor


@given(tensors())
def test_json_may_be_nested_as_the_shape_is(tensor: Tensor):
    nested: Any = np.array(tensor.values, object).reshape(tensor.shape).tolist()
    assert list(read_json(tensor.spec, tensor.shape, nested).values) == list(tensor.values)


def test_a_float_is_the_same_float32_either_way():
    values = [0.1, 1 / 3, 1e-30, 0.7365615104131231]
    tensor = Tensor(Spec("X", FP32, (-1,)), [4], values)
    expected = np.float32(values).tobytes()
    assert write_binary(tensor) == expected
    assert np.array(orjson.loads(orjson.dumps(write_json(tensor))), np.float32).tobytes() == expected


def text(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "words"),
    [
        (BYTES, [2], text(b"e4"), "shape [2] and its 1 elements"),
        (BYTES, [1], text(b"e4", b"e5"), "2 elements"),
        (BYTES, [1 << 62, 1 << 62], text(b"e4"), "do not fit together"),
        (BYTES, [1], b"\x02\x00", "end inside the length of element 0"),
        (BYTES, [2], text(b"e4") + b"\xff\xff\xff\xffe5", "end inside element 1, of 4294967295 bytes"),
        (BYTES, [1], text(b"\xff"), "element 0 is not UTF-8"),
        (INT64, [1], b"\x01", "no whole number of INT64 elements"),
        (INT64, [2], bytes(8), "1 elements"),
    ],
)
def test_bytes_that_are_no_tensor_are_refused(datatype: str, shape: list[int], raw: bytes, words: str):
    with pytest.raises(InvalidRequest, match=words.replace("[", r"\[")):
        read_binary(Spec("X", datatype, (-1,)), shape, raw)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [(BYTES, [4]), (BYTES, [None]), (INT64, [True]), (INT64, [1.0]), (INT64, [1 << 63]), (FP32, ["1"]), (BYTES, [[]])],
)
def test_json_that_is_no_tensor_is_refused(datatype: str, data: list[Any]):
    with pytest.raises(InvalidRequest, match="X: "):
        read_json(Spec("X", datatype, (-1,)), [1], data)


# --- bodies -----------------------------------------------------------------------------------------------------------

raw_tensors = st.binary(max_size=40) | st.lists(st.binary(max_size=4), max_size=4).map(lambda parts: text(*parts))
shapes = st.lists(st.integers(0, 4) | st.sampled_from([-1, 1 << 40, 1 << 64, True, 1.5]), max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 66) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = ["sequence_id", "binary_data_size", "binary_data", "binary_data_output", "classification", "other"]
parameters = st.dictionaries(st.sampled_from(PARAMETERS), values, max_size=3)
inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["MOVES", "TOP_K", "OTHER"]) | values,
        "datatype": st.sampled_from([BYTES, INT64, FP32]) | values,
        "shape": shapes | values,
        "data": st.lists(st.text(max_size=2) | values, max_size=3),
        "parameters": parameters | st.integers(0, 50).map(lambda size: {"binary_data_size": size}),
    },
)
outputs = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from([*OUTPUTS, "X"])}, optional={"parameters": parameters})
)
jsons = st.fixed_dictionaries(
    {"inputs": st.lists(inputs, max_size=3)}, optional={"id": values, "outputs": outputs, "parameters": parameters}
)


@settings(max_examples=400, deadline=None)
@given(jsons | values, raw_tensors, st.none() | st.integers(-20, 20))
def test_any_body_is_read_or_refused_in_words(json: Any, behind: bytes, wrong_by: int | None):
    try:
        head = orjson.dumps(json)
    except TypeError:  # an integer of more than 64 bits
        return
    length = None if wrong_by is None else str(len(head) + wrong_by)
    found = read_or_refuse(head + behind, length)
    if isinstance(found, Problem):
        assert found.status in (400, 422)
        assert orjson.dumps(found.body())
    else:
        assert "MOVES" in found


def read_or_refuse(body: bytes, length: str | None) -> Problem | dict[str, Tensor]:
    try:
        request, rest = messages.read(body, length)
        messages.read_outputs(request, OUTPUTS)
        return messages.read_inputs(request, rest, INPUTS)
    except Problem as problem:
        return problem


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Bytes that were a tensor of text, with some bytes changed, lost or added."""
    raw = bytearray(text(*draw(st.lists(st.binary(max_size=5), max_size=5))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(raw)


@settings(max_examples=400, deadline=None)
@given(mangled(), st.sampled_from([BYTES, INT64, FP32]), st.lists(st.integers(0, 1 << 64), max_size=3))
def test_any_bytes_are_a_tensor_or_refused_in_words(raw: bytes, datatype: str, shape: list[int]):
    spec = Spec("X", datatype, (-1,))
    with contextlib.suppress(InvalidRequest):
        tensor = read_binary(spec, shape, raw)
        assert read_binary(spec, shape, write_binary(tensor)).values == pytest.approx(tensor.values, nan_ok=True)


MIB, SENT = 1 << 20, 1 << 18


@pytest.mark.parametrize("shape", [[1 << 62], [1 << 32, 1 << 32], [SENT // 4]])
@pytest.mark.parametrize("raw", [bytes(SENT), b"\xff" * SENT, b"\xff\xff\xff\x7f" + bytes(SENT)])
def test_memory_is_bounded_by_what_was_sent(shape: list[int], raw: bytes):
    head = {"name": "MOVES", "datatype": BYTES, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    json = orjson.dumps({"inputs": [head]})
    tracemalloc.start()
    try:
        found = read_or_refuse(json + raw, str(len(json)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, Problem) == (raw != bytes(SENT) or shape != [SENT // 4])
    assert peak < 6 * SENT


# --- encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP "])
def test_a_body_is_unpacked_and_no_more_of_it_than_allowed(encoding: str):
    body = bytes(100 * MIB)
    packed = gzip.compress(body, 9) if "z" in encoding.lower() else zlib.compress(body, 9)
    del body
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="larger than 1048576 bytes"):
            unpack(packed, encoding, MIB)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert unpack(pack(bytes(MIB), encoding.strip().lower()), encoding, MIB) == bytes(MIB)


@given(st.binary(max_size=60), st.sampled_from(["gzip", "deflate"]), st.integers(0, 80))
def test_what_is_damaged_is_refused(body: bytes, encoding: str, cut: int):
    packed = pack(body, encoding)
    assert unpack(packed, encoding, 60) == body
    if cut < len(packed):
        with pytest.raises(BadEncoding):
            unpack(packed[:cut], encoding, 60)
    with pytest.raises(BadEncoding):
        unpack(packed + b"x", encoding, 60)


def test_other_encodings_are_refused_and_none_is_none():
    with pytest.raises(UnknownEncoding, match="'br'"):
        unpack(b"", "br", 9)
    assert unpack(b"abc", "", 9) == unpack(b"abc", "identity", 9) == b"abc"


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, deflate;q=0.5, gzip", "deflate"),
        ("gzip;q=0, deflate; q=0.0", None),
        ("gzip;q=0.01", "gzip"),
        ("", None),
        ("*, br", None),
    ],
)
def test_an_answer_is_compressed_if_the_client_can_read_it(header: str, encoding: str | None):
    assert accepted(header) == encoding
