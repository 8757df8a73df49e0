"""The plain recurrent cell: its training and its step in a graph."""

from torch import Tensor

from model.bptt import Gradients, Rule, Step
from model.cells.cell import Cell
from model.cells.pointwise import tanh_, tanh_backward
from model.stepgraph import Lookup, Ops, Signal


class RNNRule(Rule):
    """Kept: h."""

    read = recalled = kept = 1

    def forward(self, read: Tensor, recalled: Tensor, step: Step, vectors: Tensor) -> None:
        """See `RNN`."""
        step.after[0].copy_(tanh_(step.kept.copy_(read).add_(recalled))[0])

    def backward(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """Through the tanh."""
        gradients.read[0].copy_(tanh_backward(gradients.states[0], step.kept[0]))


class RNN(Cell):
    """A recurrent network of one layer of tanh units (Elman 1990).

    h' = tanh(W x + R h + b)

    State: h.
    """

    kind = "rnn"
    rule = RNNRule()

    def write(self, ops: Ops, layer: int, inputs: Signal | Lookup) -> Signal:
        """Write the step with the state tensor ``h0``."""
        weights = self.arrays(layer)
        before = ops.memory_state(f"h{layer}", self.width)
        read = ops.product(inputs, weights.read, weights.bias)
        candidate = ops.node("Tanh", ops.node("Add", read, ops.product(before, weights.recalled)))
        ops.gate(layer, "candidate", candidate, self.width)
        after = ops.memory(candidate)
        ops.output_state(f"h{layer}", after)
        return after
