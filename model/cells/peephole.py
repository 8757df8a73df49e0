"""Long short-term memory with peephole connections: its training and its step in a graph."""

import torch
from torch import Tensor

from model.bptt import Gradients, Rule, Step, Weights
from model.cells.lstm import LSTM
from model.cells.pointwise import sigmoid_backward, tanh, tanh_, tanh_backward
from model.stepgraph import Array, Lookup, Ops, Signal


class PeepholeRule(Rule):
    """Kept: i, f, g, o and, at the end, tanh(c'). Vectors: p of i, f and o."""

    read = recalled = 4
    kept, states = 5, 2

    def forward(self, read: Tensor, recalled: Tensor, step: Step, vectors: Tensor) -> None:
        """See `Peephole`."""
        step.kept[: self.read].copy_(read)
        step.kept[:4].add_(recalled)
        self.forward_cell(step, vectors)
        h, c = step.after
        show, bounded = step.kept[3], step.kept[-1]
        show.addcmul_(vectors[2], c).sigmoid_()
        torch.mul(show, tanh(c, out=bounded), out=h)

    def forward_cell(self, step: Step, vectors: Tensor) -> None:
        """Give i, f, g and the new c; i and f see the c before."""
        take, keep, candidate = step.kept[:3].unbind(0)
        step.kept[:2].addcmul_(vectors[:2, None], step.before[1]).sigmoid_()
        torch.mul(keep, step.before[1], out=step.after[1]).addcmul_(take, tanh_(candidate))

    def backward(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """Through o into tanh(c') and c', and then into the cell."""
        show, bounded = step.kept[3], step.kept[-1]
        h, c = gradients.states
        by_show = sigmoid_backward(h * bounded, show)
        gradients.read[3].copy_(by_show)
        gradients.vectors[2].addcmul_(by_show, step.after[1])
        c.addcmul_(h, tanh_backward(show, bounded)).addcmul_(by_show, vectors[2])
        self.backward_cell(step, vectors, gradients)

    def backward_cell(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """From c' through i, f and g, into the c before, too."""
        take, keep, candidate = step.kept[:3].unbind(0)
        before, c = step.before[1], gradients.states[1]
        by_take = sigmoid_backward(c * candidate, take)
        by_keep = sigmoid_backward(c * before, keep)
        gradients.read[0].copy_(by_take)
        gradients.read[1].copy_(by_keep)
        gradients.read[2].copy_(tanh_backward(c * take, candidate))
        gradients.vectors[0].addcmul_(by_take, before)
        gradients.vectors[1].addcmul_(by_keep, before)
        c.mul_(keep).addcmul_(by_take, vectors[0]).addcmul_(by_keep, vectors[1])


class Peephole(LSTM):
    """Long short-term memory whose gates see the cell (Gers and Schmidhuber 2000).

    i, f = σ(W x + R h + b + p ⊙ c);  g = tanh(W x + R h + b);  c' = f ⊙ c + i ⊙ g
    o = σ(W x + R h + b + p ⊙ c');  h' = o ⊙ tanh(c')

    State: h and c. Blocks of the weights: i, f, g, o; p of i, f and o are ``stack.peephole_l0 [3, width]``.
    """

    kind = "peephole"
    rule = PeepholeRule()

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Draw the parameters."""
        super().__init__(inputs, width, layers)
        for layer in range(layers):
            self.add(f"peephole_l{layer}", 3, width)

    def weights(self, layer: int) -> Weights:
        """Give the weights of a layer, with its peepholes."""
        return super().weights(layer)._replace(vectors=self.stack[f"peephole_l{layer}"])

    def write(self, ops: Ops, layer: int, inputs: Signal | Lookup) -> Signal:
        """Write the step with the state tensors ``h0`` and ``c0``."""
        return self.write_layer(ops, layer, inputs, None)[0]

    def write_layer(self, ops: Ops, layer: int, inputs: Signal | Lookup, below: str | None) -> tuple[Signal, str]:
        """Write the step of a layer, above one whose c is ``below``; give h and c."""
        weights = self.arrays(layer)
        before, carried = ops.memory_state(f"h{layer}", self.width), ops.float_state(f"c{layer}", self.width)
        read = ops.split(ops.product(inputs, weights.read, weights.bias), self.rule_of(layer).read)
        recalled = ops.split(ops.product(before, weights.recalled), 4)
        sums = [ops.node("Add", one, other) for one, other in zip(read, recalled, strict=False)]
        take, keep = (_gate(ops, sums[gate], (weights.vectors[gate], carried)) for gate in (0, 1))
        candidate = ops.node("Tanh", sums[2])
        gates = {"input": take, "forget": keep, "candidate": candidate}
        after = ops.node("Add", ops.node("Mul", keep, carried), ops.node("Mul", take, candidate))
        if below is not None:
            gates["depth"] = _gate(ops, read[4], (weights.vectors[3], carried), (weights.vectors[4], below))
            after = ops.node("Add", after, ops.node("Mul", gates["depth"], below))
        gates["output"] = _gate(ops, sums[3], (weights.vectors[2], after))
        for name, value in gates.items():
            ops.gate(layer, name, value, self.width)
        shown = ops.memory(ops.node("Mul", gates["output"], ops.node("Tanh", after)))
        ops.output_state(f"h{layer}", shown)
        ops.output_state(f"c{layer}", after)
        return shown, after


def _gate(ops: Ops, value: str, *seen: tuple[Array, str]) -> str:
    """Write σ(value + Σ vector ⊙ cell)."""
    for vector, cell in seen:
        value = ops.node("Add", value, ops.node("Mul", ops.constant(vector), cell))
    return ops.node("Sigmoid", value)
