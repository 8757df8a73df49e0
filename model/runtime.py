"""Reads a step graph and gives an onnxruntime session, set up alike for the service and for what is done offline."""

import os
from pathlib import Path

# onnxruntime's Linux wheels send usage events home unless this is set before they are loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


def open_session(graph: Path | bytes) -> onnxruntime.InferenceSession:
    """Load a graph on one thread that does not spin; raises what onnxruntime raises if it cannot be loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
