"""Reads a step graph and gives an onnxruntime session, set up alike for the service and for what is done offline."""

import os
from collections.abc import Iterable
from pathlib import Path

# onnxruntime's Linux wheels send usage events home unless this is set before they are loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

# Fields of onnx.proto that hold a message or a name: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1


def open_session(graph: Path | bytes) -> onnxruntime.InferenceSession:
    """Load a graph on one thread that does not spin; raises what onnxruntime raises if it cannot be loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def with_outputs(graph: bytes, values: Iterable[str]) -> bytes:
    """Give an ONNX file in which some of its inner values are outputs too.

    Two protobuf messages one after another are read as one, with the repeated fields of both; the runtime finds the
    types itself. So nothing that reads or writes ONNX is needed.
    """
    outputs = (_field(_OUTPUT, _field(_NAME, value.encode())) for value in values)
    return graph + _field(_GRAPH, b"".join(outputs))


def _field(number: int, content: bytes) -> bytes:
    """Give a protobuf field of bytes: its number and kind, its length seven bits at a time, lowest first, its bytes."""
    length, sizes = len(content), []
    while length > 127:
        sizes.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *sizes, length]) + content
