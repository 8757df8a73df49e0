"""Reads matrices and gives their products with many others, and the memory that such work needs again and again."""

import math
from collections import defaultdict

import torch
from torch import Tensor
from torch.nn import functional

# Buffers that no pass uses, by the power of two that is their size in bytes.
_FREE: defaultdict[int, list[Tensor]] = defaultdict(list)


class Matrix:
    """A weight [outputs, inputs], laid out once for products with about ``rows`` rows each.

    The layout is oneDNN's. Without it, a product of a few rows spends as long on laying out the weight as on itself.
    """

    def __init__(self, weight: Tensor, rows: int, bias: Tensor | None = None) -> None:
        """Lay the weight out; float64, which is for checking gradients, stays as it is."""
        self._weight, self._bias, self._packed = weight, bias, None
        if weight.dtype != torch.float64 and torch.backends.mkldnn.is_available():
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)

    def __call__(self, inputs: Tensor) -> Tensor:
        """``[rows, inputs]`` to ``[rows, outputs]``: inputs @ weightᵀ + bias."""
        if self._packed is None:
            return functional.linear(inputs, self._weight, self._bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(inputs, self._packed, self._bias, "none", [], "")
        return product


class Scratch:
    """Memory of one pass over a batch: taken from passes that are over, and left to others when this one is gone.

    A batch needs some tens of megabytes, and the first touch of every fresh page costs more than the arithmetic on it.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._buffers: list[Tensor] = []

    def empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """Give a tensor whose values are whatever was there before."""
        size = max(1, math.prod(shape)) * dtype.itemsize
        free = _FREE[size.bit_length()]
        buffer = free.pop() if free else torch.empty(1 << size.bit_length(), dtype=torch.uint8)
        self._buffers.append(buffer)
        return buffer[: math.prod(shape) * dtype.itemsize].view(dtype).view(shape)

    def __del__(self) -> None:
        """Leave the memory to others."""
        for buffer in self._buffers:
            _FREE[(buffer.numel() - 1).bit_length()].append(buffer)
