"""Reads a batch of inputs and states and gives scores and new states; owns onnxruntime and remembers nothing."""

import hashlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.artifact import CELLS, GRAPH, LOGITS, SEEN, TOKENS, Artifact, ArtifactError
from model.runtime import open_session, with_outputs

Rows = npt.NDArray[np.float32]
_Kinds = dict[str, tuple[str, list[int]]]
_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}

# Rows that go through the graph at a time where it has a board: the activations of so many stay in a core's cache
# from one convolution to the next, which is worth a sixth of the speed. Rows do not see each other either way.
_ROWS_OF_BOARDS = 16


class Input(NamedTuple):
    """What one step of one game reads: the move just played, the context and the board as the next player sees them."""

    token: int
    seen: Sequence[int]
    cells: bytes


class Engine:
    """One artifact's step graph on one thread. A state is a packed record of ``artifact.record``, as bytes."""

    def __init__(self, artifact: Artifact, *, gates: bool = False) -> None:
        """Load the graph, with ``gates`` to show these in place of the scores.

        A graph may do without the context or the board, and is not given what it does not read.
        ArtifactError if its inputs, outputs or gates are not those of the manifest, or a first step is not possible.
        """
        self._record = artifact.record
        self._gates = artifact.manifest.gates if gates else ()
        graph = _with_gates(artifact) if gates else artifact.graph
        try:
            self._session = open_session(graph)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ArtifactError(f"{artifact.graph}: onnxruntime cannot load it: {reason}") from None
        self._tensors = artifact.manifest.state
        if not self._tensors:
            raise ArtifactError(f"{artifact.folder}: its manifest names no state, so the graph would remember nothing")
        shown = [gate.value for gate in self._gates] if gates else [LOGITS]
        self._outputs, self._shown = [*shown, *(tensor.output for tensor in self._tensors)], len(shown)
        read = {value.name for value in self._session.get_inputs()}
        self._has_seen, self._has_cells = SEEN in read, CELLS in read
        self._most_rows = _ROWS_OF_BOARDS if self._has_cells else sys.maxsize
        self._check(artifact)
        initial = np.zeros(1, self._record)
        for tensor in self._tensors:
            initial[tensor.name] = tensor.initial
        self.initial = initial.tobytes()
        self._try_first_step(artifact)

    def _check(self, artifact: Artifact) -> None:
        game = artifact.game
        inputs: _Kinds = {TOKENS: ("tensor(int64)", [])}
        if self._has_seen and game.seen_sizes:
            inputs[SEEN] = ("tensor(int64)", [len(game.seen_sizes)])
        if self._has_cells and game.grid is not None:
            inputs[CELLS] = ("tensor(uint8)", [game.grid.cells])
        outputs = {LOGITS: ("tensor(float)", [len(game.vocabulary)])}
        for tensor in self._tensors:
            kind = _TYPES[tensor.dtype], list(tensor.shape)
            inputs[tensor.name] = outputs[tensor.output] = kind
        outputs |= {gate.value: ("tensor(float)", [gate.width]) for gate in self._gates}
        found_inputs = {value.name: (value.type, value.shape[1:]) for value in self._session.get_inputs()}
        found_outputs = {value.name: (value.type, value.shape[1:]) for value in self._session.get_outputs()}
        _compare(artifact, "input", found_inputs, inputs)
        _compare(artifact, "output", found_outputs, outputs)
        for value in self._session.get_inputs():
            if not value.shape or isinstance(value.shape[0], int):
                problem = f"input {value.name!r} is {value.shape}; its first axis, the rows, has to be free"
                raise ArtifactError(f"{artifact.graph}: {problem}")

    def _try_first_step(self, artifact: Artifact) -> None:
        """Read the start of a game, which a graph may be unable to do whose inputs and outputs are right."""
        game = artifact.game
        start = Input(game.vocabulary.start, game.seen([0] * len(game.context), 0), game.new_position().cells())
        try:
            shown, _ = self.step([start], [self.initial])
        except Exception as error:
            reason = str(error).splitlines()[0]
            problem = f"it cannot read the start of a game, token {start.token}: {reason}"
            raise ArtifactError(f"{artifact.graph}: {problem}") from None
        if not np.isfinite(shown).all():
            raise ArtifactError(f"{artifact.graph}: its scores at the start of a game are not all numbers")

    def step(self, inputs: Sequence[Input], states: Sequence[bytes]) -> tuple[Rows, list[bytes]]:
        """Take one step in every row.

        inputs: one a row;  states: one a row, ``initial`` for a new game
        Gives float32 [rows, moves] and the states after the step. A row's bits do not depend on the other rows.
        With gates it gives [rows, units] of all of them, in the manifest's order, and the same states.
        """
        if len(inputs) <= self._most_rows:
            return self._step(inputs, states)
        parts = range(0, len(inputs), self._most_rows)
        steps = [self._step(inputs[a : a + self._most_rows], states[a : a + self._most_rows]) for a in parts]
        return np.concatenate([shown for shown, _ in steps]), [state for _, after in steps for state in after]

    def _step(self, inputs: Sequence[Input], states: Sequence[bytes]) -> tuple[Rows, list[bytes]]:
        rows = len(inputs)
        before = np.frombuffer(b"".join(states), self._record)
        feed: dict[str, Any] = {TOKENS: np.fromiter((row.token for row in inputs), np.int64, rows)}
        if self._has_seen:
            feed[SEEN] = np.array([row.seen for row in inputs], np.int64)
        if self._has_cells:
            feed[CELLS] = np.frombuffer(b"".join(row.cells for row in inputs), np.uint8).reshape(rows, -1)
        for tensor in self._tensors:
            feed[tensor.name] = np.ascontiguousarray(before[tensor.name])
        outputs = self._session.run(self._outputs, feed)
        shown = outputs[0] if self._shown == 1 else np.concatenate(outputs[: self._shown], axis=1)
        after = np.empty(rows, self._record)
        for tensor, output in zip(self._tensors, outputs[self._shown :], strict=True):
            after[tensor.name] = output
        return shown, [state.tobytes() for state in after.view(np.uint8).reshape(rows, -1)]


def _with_gates(artifact: Artifact) -> bytes:
    """Give the graph with its gates as outputs; ArtifactError if it is no longer the one that the manifest names."""
    try:
        graph = artifact.graph.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{artifact.graph} cannot be read: {error.strerror}") from None
    if hashlib.sha256(graph).hexdigest() != artifact.manifest.sha256[GRAPH]:
        raise ArtifactError(f"{artifact.graph} was replaced since it was loaded")
    return with_outputs(graph, (gate.value for gate in artifact.manifest.gates))


def _compare(artifact: Artifact, role: str, found: _Kinds, expected: _Kinds) -> None:
    """Refuse a graph of other inputs or outputs than its game and manifest have; the shapes are those of one row."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            has, needs = (" ".join(map(str, kinds.get(name, ["none"]))) for kinds in (found, expected))
            raise ArtifactError(f"{artifact.graph}: {role} {name!r} is {has}, its game and manifest need {needs}")
