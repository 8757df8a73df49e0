"""Long short-term memory: its training and its step in a graph."""

from typing import ClassVar

import torch
from torch import Tensor

from model.bptt import Gradients, Rule, Step
from model.cells.cell import Cell
from model.cells.pointwise import sigmoid_backward, tanh, tanh_, tanh_backward
from model.stepgraph import Lookup, Ops, Signal


class LSTMRule(Rule):
    """Kept: i, f, g, o and tanh(c')."""

    read = recalled = 4
    kept, states = 5, 2

    def forward(self, read: Tensor, recalled: Tensor, step: Step, vectors: Tensor) -> None:
        """See `LSTM`."""
        take, keep, candidate, show, bounded = step.kept.unbind(0)
        step.kept[:4].copy_(read).add_(recalled)
        step.kept[:2].sigmoid_()
        show.sigmoid_()
        tanh_(candidate)
        h, c = step.after
        torch.mul(keep, step.before[1], out=c).addcmul_(take, candidate)
        torch.mul(show, tanh(c, out=bounded), out=h)

    def backward(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """Through o into tanh(c'), and from c' through i, f and g."""
        take, keep, candidate, show, bounded = step.kept.unbind(0)
        h, c = gradients.states
        by_take, by_keep, by_candidate, by_show = gradients.read.unbind(0)
        torch.mul(h, sigmoid_backward(bounded, show), out=by_show)
        c.addcmul_(h, tanh_backward(show, bounded))
        torch.mul(c, sigmoid_backward(candidate, take), out=by_take)
        torch.mul(c, sigmoid_backward(step.before[1], keep), out=by_keep)
        torch.mul(c, tanh_backward(take, candidate), out=by_candidate)
        c.mul_(keep)


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate by Gers et al. 2000).

    i, f, o = σ(W x + R h + b);  g = tanh(W x + R h + b);  c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c')

    State: h and c. Blocks of the weights: i, f, g, o.
    """

    kind = "lstm"
    rule: ClassVar[Rule] = LSTMRule()

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Draw the parameters; forget gates start open."""
        super().__init__(inputs, width, layers)
        with torch.no_grad():
            for layer in range(layers):
                self.stack[f"bias_ih_l{layer}"][width : 2 * width] = 1.0

    def write(self, ops: Ops, layer: int, inputs: Signal | Lookup) -> Signal:
        """Write the step with the state tensors ``h0`` and ``c0``."""
        weights = self.arrays(layer)
        before, carried = ops.memory_state(f"h{layer}", self.width), ops.float_state(f"c{layer}", self.width)
        read = ops.product(inputs, weights.read, weights.bias)
        gates = ops.split(ops.node("Add", read, ops.product(before, weights.recalled)), 4)
        take, keep, show = (ops.node("Sigmoid", gates[index]) for index in (0, 1, 3))
        candidate = ops.node("Tanh", gates[2])
        for name, value in {"input": take, "forget": keep, "candidate": candidate, "output": show}.items():
            ops.gate(layer, name, value, self.width)
        kept, taken = ops.node("Mul", keep, carried), ops.node("Mul", take, candidate)
        carried_on = ops.node("Add", kept, taken)
        after = ops.memory(ops.node("Mul", show, ops.node("Tanh", carried_on)))
        ops.output_state(f"h{layer}", after)
        ops.output_state(f"c{layer}", carried_on)
        return after
