"""Reads the weights of a stack of recurrent layers and gives its outputs: what all cells have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.bptt import Layer, Rule, Weights, read_sequence
from model.stepgraph import Array, Lookup, Ops, Signal

State = tuple[Tensor, ...]


class Arrays(NamedTuple):
    """`Weights` of a layer as a step graph takes them: products are [inputs, outputs]."""

    read: Array
    bias: Array
    recalled: Array
    vectors: Array


class Cell(nn.Module):
    """A stack of recurrent layers, each ``width`` wide, whose output is the h of the top one.

    Parameters are named and laid out as those of ``torch.nn.LSTM``: ``stack.weight_ih_l0 [blocks × width, inputs]``,
    ``stack.weight_hh_l0 [blocks × width, width]``, ``stack.bias_ih_l0`` and ``stack.bias_hh_l0``.
    """

    kind: ClassVar[str]
    rule: ClassVar[Rule]

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Draw all parameters uniformly from ±1 / √width."""
        super().__init__()
        self.width, self.layers = width, layers
        self.stack = nn.ParameterDict()
        for layer in range(layers):
            rule = self.rule_of(layer)
            self.add(f"weight_ih_l{layer}", rule.read * width, width if layer else inputs)
            self.add(f"weight_hh_l{layer}", rule.recalled * width, width)
            self.add(f"bias_ih_l{layer}", rule.read * width)
            self.add(f"bias_hh_l{layer}", rule.recalled * width)

    def add(self, name: str, *shape: int) -> None:
        """Draw one more parameter."""
        self.stack[name] = nn.Parameter(torch.empty(shape).uniform_(-1, 1) * self.width**-0.5)

    def rule_of(self, layer: int) -> Rule:
        """Give what a layer computes between its products; layers count from 0."""
        return self.rule

    def weights(self, layer: int) -> Weights:
        """Give the weights of a layer; both biases are added wherever the product with h stands in a sum."""
        of = self.stack
        first, second = of[f"bias_ih_l{layer}"], of[f"bias_hh_l{layer}"]
        bias = first + functional.pad(second, (0, len(first) - len(second)))
        return Weights(of[f"weight_ih_l{layer}"], bias, of[f"weight_hh_l{layer}"])

    def arrays(self, layer: int) -> Arrays:
        """Give the same for a step graph."""
        read, bias, recalled, vectors = (None if w is None else w.detach().numpy() for w in self.weights(layer))
        assert read is not None
        assert bias is not None
        assert recalled is not None
        return Arrays(read.T, bias, recalled.T, np.zeros((0, self.width)) if vectors is None else vectors)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read ``[T, B, inputs]`` from a state on (None for a new game); give ``[T, B, width]`` and the state after.

        A state has as many tensors [layers, B, width] as the layers have; the first is h.
        """
        states = self.states_of_layers(inputs, state)
        outputs, passed_on, after = inputs, None, []
        for layer in range(self.layers):
            outputs, ends, passed_on = self.read(layer, outputs, states[layer], passed_on)
            after.append(ends)
        return outputs, tuple(torch.stack(parts) for parts in zip(*after, strict=True))

    def states_of_layers(self, inputs: Tensor, state: State | None) -> list[State]:
        """Give the state of each layer."""
        if state is None:
            zero = self.stack["bias_ih_l0"].new_zeros(inputs.shape[1], self.width)
            return [(zero,) * self.rule.states] * self.layers
        return list(zip(*(part.unbind(0) for part in state), strict=True))

    def read(self, layer: int, inputs: Tensor, states: Sequence[Tensor], beside: Tensor | None) -> Layer:
        """Read a sequence with one layer."""
        return read_sequence(self.rule_of(layer), self.weights(layer), inputs, states, beside)

    def step(self, ops: Ops, inputs: Signal | Lookup) -> Signal:
        """Write one time step into a graph, with the state tensors it needs; give what ``forward`` gives."""
        for layer in range(self.layers):
            inputs = self.write(ops, layer, inputs)
        assert isinstance(inputs, Signal)
        return inputs

    @abstractmethod
    def write(self, ops: Ops, layer: int, inputs: Signal | Lookup) -> Signal:
        """Write one time step of one layer."""
