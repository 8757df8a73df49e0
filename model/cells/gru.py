"""The gated recurrent unit: its training and its step in a graph."""

import numpy as np
import torch
from torch import Tensor

from model.bptt import Gradients, Rule, Step, Weights
from model.cells.cell import Cell
from model.cells.pointwise import sigmoid_backward, tanh_, tanh_backward
from model.stepgraph import Lookup, Ops, Signal


class GRURule(Rule):
    """Kept: r, z, n and R h + b of n. Vectors: the b."""

    read = recalled = 3
    kept, apart, linear = 4, True, True

    def forward(self, read: Tensor, recalled: Tensor, step: Step, vectors: Tensor) -> None:
        """See `GRU`."""
        reset, update, candidate, recollection = step.kept.unbind(0)
        step.kept[:2].copy_(read[:2]).add_(recalled[:2]).sigmoid_()
        torch.add(vectors[0], recalled[2], out=recollection)
        tanh_(torch.mul(reset, recollection, out=candidate).add_(read[2]))
        torch.lerp(candidate, step.before[0], update, out=step.after[0])

    def backward(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """Through z into n and the h before, through n into r."""
        reset, update, candidate, recollection = step.kept.unbind(0)
        (h,) = gradients.states
        by_candidate = tanh_backward(h - h * update, candidate)
        by_recollection = by_candidate * reset
        gradients.read[0].copy_(sigmoid_backward(by_candidate * recollection, reset))
        gradients.read[1].copy_(sigmoid_backward(h * (step.before[0] - candidate), update))
        gradients.read[2].copy_(by_candidate)
        gradients.recalled[:2].copy_(gradients.read[:2])
        gradients.recalled[2].copy_(by_recollection)
        gradients.vectors[0].add_(by_recollection)
        h.mul_(update)


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014, with the reset gate behind the product as in cuDNN and ``torch.nn.GRU``).

    r, z = σ(W x + R h + b);  n = tanh(W x + b + r ⊙ (R h + b));  h' = (1 − z) ⊙ n + z ⊙ h

    State: h. Blocks of the weights: r, z, n.
    """

    kind = "gru"
    rule = GRURule()

    def weights(self, layer: int) -> Weights:
        """Give the weights of a layer; the second bias of n is a vector, since r stands before it."""
        read, bias, recalled, _ = super().weights(layer)
        first, second = self.stack[f"bias_ih_l{layer}"], self.stack[f"bias_hh_l{layer}"]
        gates = 2 * self.width
        return Weights(read, torch.cat([bias[:gates], first[gates:]]), recalled, second[None, gates:])

    def write(self, ops: Ops, layer: int, inputs: Signal | Lookup) -> Signal:
        """Write the step with the state tensor ``h0``, in float32 since it is carried on as it is."""
        weights = self.arrays(layer)
        before = ops.float_state(f"h{layer}", self.width)
        bias = np.concatenate([np.zeros(2 * self.width, np.float32), weights.vectors[0]])
        read = ops.split(ops.product(inputs, weights.read, weights.bias), 3)
        recalled = ops.split(ops.product(ops.memory(before), weights.recalled, bias), 3)
        reset, update = (ops.node("Sigmoid", ops.node("Add", read[gate], recalled[gate])) for gate in (0, 1))
        candidate = ops.node("Tanh", ops.node("Add", read[2], ops.node("Mul", reset, recalled[2])))
        for name, value in {"reset": reset, "update": update, "candidate": candidate}.items():
            ops.gate(layer, name, value, self.width)
        change = ops.node("Mul", update, ops.node("Sub", before, candidate))
        after = ops.node("Add", candidate, change)
        ops.output_state(f"h{layer}", after)
        return ops.memory(after)
