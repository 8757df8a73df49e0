"""The recurrent cells: each reads a sequence of vectors and a state and gives a sequence of vectors and a new state."""

from typing import Protocol

import torch
from torch import Tensor, nn

from model.stepgraph import Lookup, Ops, Signal

State = tuple[Tensor, ...]


class Cell(Protocol):
    """A stack of recurrent layers; ``width`` is the size of what it gives.

    ``forward`` takes ``[T, B, inputs]`` and a state (None for a new game) and gives ``[T, B, width]`` and a state.
    """

    kind: str
    width: int
    layers: int

    def __call__(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read a sequence."""

    def step(self, ops: Ops, inputs: Signal | Lookup) -> Signal:
        """Write one time step into a graph, with the state tensors it needs; give what ``forward`` gives."""


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate by Gers et al. 2000).

    i, f, o = σ(W x + R h + b);  g = tanh(W x + R h + b);  c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c')

    State: h and c, each ``[layers, B, width]``, zero for a new game.
    """

    kind = "lstm"

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Make a stack of layers, each ``width`` wide; forget gates start open."""
        super().__init__()
        self.width, self.layers = width, layers
        self.stack = nn.LSTM(inputs, width, layers)
        with torch.no_grad():
            for layer in range(layers):
                bias = getattr(self.stack, f"bias_ih_l{layer}")
                bias[width : 2 * width] = 1.0

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read ``[T, B, inputs]``; give ``[T, B, width]`` and the state after the last step."""
        outputs: Tensor
        outputs, after = self.stack(inputs, None if state is None else (state[0], state[1]))
        return outputs, after

    def step(self, ops: Ops, inputs: Signal | Lookup) -> Signal:
        """Write one time step: state tensors ``h0, c0, h1, c1, …``, one pair a layer."""
        weights = {name: tensor.detach().numpy() for name, tensor in self.stack.named_parameters()}
        for layer in range(self.layers):
            before, carried = ops.memory_state(f"h{layer}", self.width), ops.float_state(f"c{layer}", self.width)
            bias = weights[f"bias_ih_l{layer}"] + weights[f"bias_hh_l{layer}"]
            read = ops.product(inputs, weights[f"weight_ih_l{layer}"].T, bias)
            recalled = ops.product(before, weights[f"weight_hh_l{layer}"].T)
            gates = ops.split(ops.node("Add", read, recalled), 4)
            take, keep, show = (ops.node("Sigmoid", gates[index]) for index in (0, 1, 3))
            candidate = ops.node("Tanh", gates[2])
            kept, taken = ops.node("Mul", keep, carried), ops.node("Mul", take, candidate)
            carried_on = ops.node("Add", kept, taken)
            after = ops.memory(ops.node("Mul", show, ops.node("Tanh", carried_on)))
            ops.output_state(f"h{layer}", after)
            ops.output_state(f"c{layer}", carried_on)
            inputs = after
        return after
