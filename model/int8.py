"""Writes the products of a step graph in integers: uint8 activations with fixed scales, int8 weights a scale a column.

A sum of integers is exact, so a row's bits cannot depend on its neighbours.
"""

from collections.abc import Mapping

import numpy as np
from onnx import helper

from model.stepgraph import Array, Ops, Signal


class Int8Ops(Ops):
    """Products in integers: uint8 activations, int8 weights; ``ranges`` has the largest |value| of each point."""

    precision = "int8"

    # Signed activations are uint8 around 128: onnxruntime's s8 × s8 kernel is about 20 times slower than u8 × s8.
    _MIDDLE = 128

    def __init__(self, ranges: Mapping[str, float]) -> None:
        """Start an empty graph."""
        super().__init__()
        self._ranges = ranges

    def _signal(self, name: str, point: str, signed: bool) -> Signal:
        largest = max(self._ranges[point], 1e-6)
        return Signal(name, largest / 127, self._MIDDLE) if signed else Signal(name, largest / 255, 0)

    def _scale(self, signal: Signal) -> tuple[str, str]:
        return self.constant(np.float32(signal.scale)), self.constant(np.uint8(signal.zero))

    def _quantize(self, value: str, like: Signal) -> Signal:
        return Signal(self.node("QuantizeLinear", value, *self._scale(like)), like.scale, like.zero)

    def signal(self, value: str, point: str) -> Signal:
        """Quantise with the scale of the point."""
        return self._quantize(value, self._signal("", point, signed=False))

    def multiply(self, signal: Signal, weight: Array, bias: Array | None) -> str:
        """Multiply in integers, then scale each column and add the bias, all in one node."""
        integers, scales = _quantize_columns(weight, axis=0)
        scale, zero = self._scale(signal)
        inputs = [signal.name, self.constant(integers), scale, self.constant(scales), zero]
        if bias is not None:
            inputs += [self.constant(np.zeros(len(bias), np.int8)), self.constant(bias)]
        return self.node("MatMulIntegerToFloat", *inputs, domain="com.microsoft")

    def convolve(
        self, signal: Signal, weight: Array, bias: Array, point: str, *, rectify: bool = True, groups: int = 1
    ) -> Signal:
        """Convolve in integers; where the result cannot be negative, the lower end of uint8 rectifies it."""
        integers, scales = _quantize_columns(weight, axis=(1, 2, 3))
        biases = np.round(bias / (scales * signal.scale)).astype(np.int32)
        result = self._signal(self._name("convolution"), point, signed=not rectify)
        weights = self.constant(integers), self.constant(scales), self.constant(np.zeros(len(bias), np.int8))
        inputs = [signal.name, *self._scale(signal), *weights, *self._scale(result), self.constant(biases)]
        pads = [weight.shape[-1] // 2] * 4
        self.nodes.append(helper.make_node("QLinearConv", inputs, [result.name], pads=pads, group=groups))
        return result

    def add_rectified(self, one: Signal, other: Signal, point: str) -> Signal:
        """Add in uint8; zero is the lower end, so the sum comes out rectified."""
        result = self._signal("", point, signed=False)
        terms = one.name, *self._scale(one), other.name, *self._scale(other), *self._scale(result)
        return Signal(self.node("QLinearAdd", *terms, domain="com.microsoft"), result.scale, result.zero)

    def memory_state(self, name: str, width: int) -> Signal:
        """Keep the uint8 that products read: nothing is lost by it."""
        return Signal(self._state(name, "uint8", width, self._MIDDLE), 1 / 127, self._MIDDLE)

    def memory(self, value: str) -> Signal:
        """Quantise with the scale that (−1, 1) needs."""
        return self._quantize(value, Signal("", 1 / 127, self._MIDDLE))


def _quantize_columns(weight: Array, axis: int | tuple[int, ...]) -> tuple[Array, Array]:
    """Give int8 weights and the float32 scale of each output, which maps the largest of its weights to 127."""
    largest = np.maximum(np.abs(weight).max(axis=axis, keepdims=True), 1e-12)
    integers = np.round(weight / largest * 127).astype(np.int8)
    return integers, (largest / 127).astype(np.float32).reshape(-1)
