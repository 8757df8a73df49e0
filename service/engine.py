"""Reads a batch of inputs and states and gives scores and new states; owns onnxruntime and remembers nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from model.artifact import CELLS, LOGITS, SEEN, TOKENS, Artifact, ArtifactError

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Input:
    """What one step of one game reads: the move just played, the context and the board as the next player sees them."""

    token: int
    seen: Sequence[int]
    cells: bytes


class Engine:
    """One artifact's step graph on one thread. A state is a packed record of ``artifact.record``, as bytes."""

    def __init__(self, artifact: Artifact) -> None:
        """Load the graph; ArtifactError if its inputs and outputs are not those of the manifest."""
        self._record = artifact.record
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(artifact.graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ArtifactError(f"{artifact.graph}: onnxruntime cannot load it: {reason}") from None
        self._tensors = artifact.manifest.state
        self._outputs = [LOGITS, *(tensor.output for tensor in self._tensors)]
        self._has_seen, self._has_cells = bool(artifact.game.seen_sizes), artifact.game.grid is not None
        self._check(artifact)
        initial = np.zeros(1, self._record)
        for tensor in self._tensors:
            initial[tensor.name] = tensor.initial
        self.initial = initial.tobytes()

    def _check(self, artifact: Artifact) -> None:
        expected = {TOKENS, *(tensor.name for tensor in self._tensors)}
        expected |= {SEEN} if self._has_seen else set()
        expected |= {CELLS} if self._has_cells else set()
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        if inputs != expected:
            raise ArtifactError(f"{artifact.graph}: its inputs are {sorted(inputs)}, the manifest's {sorted(expected)}")
        if missing := set(self._outputs) - outputs:
            raise ArtifactError(f"{artifact.graph}: it has no outputs {sorted(missing)}")

    def step(self, inputs: Sequence[Input], states: Sequence[bytes]) -> tuple[Logits, list[bytes]]:
        """Take one step in every row.

        inputs: one a row;  states: one a row, ``initial`` for a new game
        Gives float32 [rows, moves] and the states after the step. A row's bits do not depend on the other rows.
        """
        rows = len(inputs)
        before = np.frombuffer(b"".join(states), self._record)
        feed: dict[str, Any] = {TOKENS: np.fromiter((row.token for row in inputs), np.int64, rows)}
        if self._has_seen:
            feed[SEEN] = np.array([row.seen for row in inputs], np.int64)
        if self._has_cells:
            feed[CELLS] = np.frombuffer(b"".join(row.cells for row in inputs), np.uint8).reshape(rows, -1)
        for tensor in self._tensors:
            feed[tensor.name] = np.ascontiguousarray(before[tensor.name])
        logits, *outputs = self._session.run(self._outputs, feed)
        after = np.empty(rows, self._record)
        for tensor, output in zip(self._tensors, outputs, strict=True):
            after[tensor.name] = output
        packed, size = after.tobytes(), self._record.itemsize
        return logits, [packed[start : start + size] for start in range(0, rows * size, size)]
