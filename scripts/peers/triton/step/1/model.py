"""Reads single steps of sequences and gives the five likeliest moves of each: a python backend for Triton.

Triton's sequence batcher puts steps of different sequences into one batch. The package that carries Triton has no
onnxruntime backend, so this one calls onnxruntime itself and keeps the state of each sequence in a row of one array a
tensor. ``STEP_ARTIFACT`` names the folder of the model, ``PEER_SITE`` where onnxruntime is installed.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["PEER_SITE"])
import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

_TOP = 5
_ROWS = 1024


class States:
    """The state of every sequence, a row each; none is ever given back, since to read whether one ends takes time."""

    def __init__(self, tensors: list[dict[str, Any]]) -> None:
        """Make room for the tensors that the manifest describes."""
        self._initial = {t["name"]: np.full(t["shape"], t.get("initial", 0), t["dtype"]) for t in tensors}
        self._rows = {name: np.repeat(value[None], _ROWS, axis=0) for name, value in self._initial.items()}
        self._place: dict[int, int] = {}
        self._room = _ROWS

    def begin(self, sequence: int) -> int:
        """Give the row of a sequence that starts, as it is before the first step."""
        row = self._place.setdefault(sequence, len(self._place))
        if row == self._room:
            self._rows = {name: np.concatenate([value, value]) for name, value in self._rows.items()}
            self._room *= 2
        for name, value in self._initial.items():
            self._rows[name][row] = value
        return row

    def row(self, sequence: int) -> int:
        """Give the row of a sequence that goes on; KeyError if it never started."""
        return self._place[sequence]

    def read(self, rows: list[int]) -> dict[str, Any]:
        """Give the inputs of the graph that are state."""
        return {name: value[rows] for name, value in self._rows.items()}

    def write(self, rows: list[int], outputs: list[Any]) -> None:
        """Keep the outputs of the graph that are state, in the order of ``outputs`` of the manifest."""
        for value, output in zip(self._rows.values(), outputs, strict=True):
            value[rows] = output


class TritonPythonModel:
    """What Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph on one thread."""
        folder = Path(os.environ["STEP_ARTIFACT"])
        manifest = json.loads((folder / "manifest.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = str(folder / "model.onnx")
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._states = States(manifest["state"])
        self._outputs = ["logits", *(tensor["output"] for tensor in manifest["state"])]
        # Neither rules nor context here: the board and what is known of the players stay empty.
        types = {"tensor(int64)": np.int64, "tensor(uint8)": np.uint8}
        empty = [value for value in self._session.get_inputs() if value.name in {"seen", "cells"}]
        self._empty = {value.name: np.zeros((64, *value.shape[1:]), types[value.type]) for value in empty}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Take one step of each sequence."""
        count, tokens, rows = len(requests), [], []
        for request in requests:
            sequence, start, token = (_number(request, name) for name in ("CORRID", "START", "token"))
            tokens.append(token)
            rows.append(self._states.begin(sequence) if start else self._states.row(sequence))
        empty = {name: value[:count] for name, value in self._empty.items()}
        feed = {"tokens": np.array(tokens, np.int64)} | empty | self._states.read(rows)
        logits, *after = self._session.run(self._outputs, feed)
        self._states.write(rows, after)
        ids, probabilities = _likeliest(logits)
        return [
            triton.InferenceResponse(
                [triton.Tensor("ids", ids[row : row + 1]), triton.Tensor("probabilities", probabilities[row : row + 1])]
            )
            for row in range(count)
        ]


def _number(request: Any, name: str) -> int:
    return int(triton.get_input_tensor_by_name(request, name).as_numpy().item())


def _likeliest(logits: Any) -> tuple[Any, Any]:
    """Give int64 [rows, 5] and float32 [rows, 5]: the likeliest moves, likeliest first, and their probabilities."""
    top = np.argpartition(logits, -_TOP, axis=1)[:, -_TOP:]
    order = np.argsort(-np.take_along_axis(logits, top, axis=1), axis=1)
    top = np.take_along_axis(top, order, axis=1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = np.take_along_axis(weights, top, axis=1) / weights.sum(axis=1, keepdims=True)
    return top.astype(np.int64), probabilities.astype(np.float32)
