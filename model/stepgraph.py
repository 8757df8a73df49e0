"""Writes a step graph in ONNX, one time step of a batch: its nodes, constants, inputs, outputs and state tensors.

A network writes its step once, in terms of `Ops`; what an operation becomes depends on the precision.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.artifact import GateTensor, StateTensor

Array = npt.NDArray[Any]

_OPSET, _IR = 21, 10
_TYPES = {"int64": TensorProto.INT64, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


@dataclass(frozen=True)
class Signal:
    """A value that products may read: a float tensor, or a uint8 one that stands for ``scale × (value − zero)``."""

    name: str
    scale: float = 0.0
    zero: int = 0


@dataclass(frozen=True)
class Lookup:
    """A row of a constant table for each id: its product with a weight is a row of another table, folded at export."""

    ids: str
    table: Array


class Ops(ABC):
    """Writes the nodes of a step graph."""

    precision: str

    def __init__(self) -> None:
        """Start an empty graph."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.state: list[StateTensor] = []
        self.gates: list[GateTensor] = []
        self._names = 0

    # What both precisions share.

    def constant(self, value: Array | np.generic) -> str:
        """Give the name of a constant."""
        return self._keep(np.array(value, order="C"))

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; give the output's name."""
        output = self._name(op)
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def split(self, value: str, parts: int) -> list[str]:
        """Cut the last axis into equal parts."""
        outputs = [self._name("Split") for _ in range(parts)]
        self.nodes.append(helper.make_node("Split", [value], outputs, axis=-1, num_outputs=parts))
        return outputs

    def transpose(self, value: str, *axes: int) -> str:
        """Reorder the axes."""
        return self.node("Transpose", value, perm=list(axes))

    def reshape(self, value: str, *shape: int) -> str:
        """Reshape; a 0 keeps the batch."""
        return self.node("Reshape", value, self.constant(np.array(shape, np.int64)))

    def input(self, name: str, dtype: str, *shape: int) -> str:
        """Declare an input of the graph with ``shape`` a row."""
        self.inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], ["rows", *shape]))
        return name

    def output(self, name: str, value: str, dtype: str, *shape: int) -> None:
        """Declare an output of the graph with ``shape`` a row."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], ["rows", *shape]))

    def gate(self, layer: int, name: str, value: str, width: int) -> None:
        """Name a float32 value [rows, width] as what a gate of a layer gives; layers count from 0."""
        self.gates.append(GateTensor(layer=layer, gate=name, value=value, width=width))

    def product(self, signal: Signal | Lookup, weight: Array, bias: Array | None = None) -> str:
        """Multiply ``[…, inputs]`` by ``weight [inputs, outputs]`` and add the bias; a float tensor."""
        if isinstance(signal, Lookup):
            folded = signal.table @ weight + (0 if bias is None else bias)
            return self.node("Gather", self.constant(folded.astype(np.float32)), signal.ids, axis=0)
        return self.multiply(signal, weight, bias)

    def sum_of_rows(self, ids: str, tables: Sequence[Array]) -> str:
        """Look up ``ids [rows, fields]``, each in its own table, and add what is found."""
        starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
        rows = self.node("Add", ids, self.constant(starts.astype(np.int64)))
        found = self.node("Gather", self.constant(np.concatenate(tables)), rows, axis=0)
        return self.node("ReduceSum", found, self.constant(np.array([1], np.int64)), keepdims=0)

    def float_state(self, name: str, width: int) -> str:
        """Declare a state tensor that is only ever added and multiplied."""
        return self._state(name, "float32", width, 0)

    def model(self) -> onnx.ModelProto:
        """Give the finished graph, checked."""
        graph = helper.make_graph(
            self.nodes, "step", self.inputs, self.outputs, initializer=list(self.initializers.values())
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="nextply")
        onnx.checker.check_model(model)
        return model

    def _state(self, name: str, dtype: Any, width: int, initial: int) -> str:
        self.state.append(StateTensor(name=name, output=f"{name}_after", dtype=dtype, shape=(width,), initial=initial))
        return self.input(name, dtype, width)

    def _name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}_{self._names}"

    def _keep(self, value: Array) -> str:
        tensor = numpy_helper.from_array(value, self._name("constant"))
        self.initializers[tensor.name] = tensor
        return tensor.name

    # What depends on the precision. `point` names a place in the network whose range calibration measures.

    @abstractmethod
    def signal(self, value: str, point: str) -> Signal:
        """Make a float tensor that is nowhere negative readable by products."""

    @abstractmethod
    def multiply(self, signal: Signal, weight: Array, bias: Array | None) -> str:
        """Multiply ``[…, inputs]`` by ``weight [inputs, outputs]`` and add the bias; a float tensor."""

    @abstractmethod
    def convolve(
        self, signal: Signal, weight: Array, bias: Array, point: str, *, rectify: bool = True, groups: int = 1
    ) -> Signal:
        """Convolve ``[rows, in, y, x]`` with ``[out, in / groups, k, k]``, padded; rectify if asked."""

    @abstractmethod
    def add_rectified(self, one: Signal, other: Signal, point: str) -> Signal:
        """Give relu(one + other)."""

    @abstractmethod
    def memory_state(self, name: str, width: int) -> Signal:
        """Declare a state tensor in (−1, 1) that products read."""

    @abstractmethod
    def memory(self, value: str) -> Signal:
        """Make a float tensor in (−1, 1) readable by products, and fit to be kept as state."""

    def output_state(self, name: str, value: Signal | str) -> None:
        """Declare what the state tensor ``name`` becomes."""
        tensor = next(tensor for tensor in self.state if tensor.name == name)
        self.output(tensor.output, value if isinstance(value, str) else value.name, tensor.dtype, *tensor.shape)


class FloatOps(Ops):
    """Everything in float32. ``points`` collects the value at each calibration point."""

    precision = "fp32"

    def __init__(self) -> None:
        """Start an empty graph."""
        super().__init__()
        self.points: dict[str, str] = {}

    def _point(self, value: str, point: str) -> Signal:
        self.points[point] = value
        return Signal(value)

    def signal(self, value: str, point: str) -> Signal:
        """Pass the tensor on."""
        return self._point(value, point)

    def multiply(self, signal: Signal, weight: Array, bias: Array | None) -> str:
        """Multiply in float32."""
        result = self.node("MatMul", signal.name, self.constant(weight))
        return result if bias is None else self.node("Add", result, self.constant(bias))

    def convolve(
        self, signal: Signal, weight: Array, bias: Array, point: str, *, rectify: bool = True, groups: int = 1
    ) -> Signal:
        """Convolve in float32."""
        pads = [weight.shape[-1] // 2] * 4
        result = self.node("Conv", signal.name, self.constant(weight), self.constant(bias), pads=pads, group=groups)
        return self._point(self.node("Relu", result) if rectify else result, point)

    def add_rectified(self, one: Signal, other: Signal, point: str) -> Signal:
        """Add and rectify."""
        return self._point(self.node("Relu", self.node("Add", one.name, other.name)), point)

    def memory_state(self, name: str, width: int) -> Signal:
        """Keep float32."""
        return Signal(self._state(name, "float32", width, 0))

    def memory(self, value: str) -> Signal:
        """Pass the tensor on."""
        return Signal(value)
