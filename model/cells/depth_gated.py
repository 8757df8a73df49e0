"""Depth-gated long short-term memory: its training and its step in a graph."""

import torch
from torch import Tensor

from model.bptt import Gradients, Rule, Step, Weights
from model.cells.peephole import Peephole, PeepholeRule
from model.cells.pointwise import sigmoid_backward
from model.stepgraph import Lookup, Ops, Signal


class BottomRule(PeepholeRule):
    """A layer with none below it."""

    passes_on = True


class DepthGatedRule(PeepholeRule):
    """Kept: i, f, g, o, d and tanh(c'). Vectors: p of i, f and o; of d for its own c and for the c below."""

    read, kept = 5, 6
    passes_on = True

    def forward_cell(self, step: Step, vectors: Tensor) -> None:
        """Give i, f, g, d and the new c."""
        assert step.beside is not None
        super().forward_cell(step, vectors)
        depth = step.kept[4].addcmul_(vectors[3], step.before[1]).addcmul_(vectors[4], step.beside).sigmoid_()
        step.after[1].addcmul_(depth, step.beside)

    def backward_cell(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """From c' through d into the c below and the c before, and through i, f and g."""
        assert step.beside is not None
        assert gradients.beside is not None
        depth, c = step.kept[4], gradients.states[1]
        by_depth = sigmoid_backward(c * step.beside, depth)
        gradients.read[4].copy_(by_depth)
        gradients.vectors[3].addcmul_(by_depth, step.before[1])
        gradients.vectors[4].addcmul_(by_depth, step.beside)
        torch.mul(c, depth, out=gradients.beside).addcmul_(by_depth, vectors[4])
        super().backward_cell(step, vectors, gradients)
        c.addcmul_(by_depth, vectors[3])


class DepthGated(Peephole):
    """Depth-gated long short-term memory (Yao et al. 2015, arXiv 1508.03790), with l for the layer below.

    i, f = σ(W x + R h + b + p ⊙ c);  g = tanh(W x + R h + b);  d = σ(W x + b + p ⊙ c + q ⊙ c'ₗ)
    c' = f ⊙ c + i ⊙ g + d ⊙ c'ₗ;  o = σ(W x + R h + b + p ⊙ c');  h' = o ⊙ tanh(c')

    The lowest layer has no d: a single layer is a `Peephole`. State: h and c. Blocks of the weights: i, f, g, o, d, of
    which R has no d; p and q of d are ``stack.depth_l1 [2, width]``.
    """

    kind = "depth_gated"
    rule = BottomRule()
    upper = DepthGatedRule()

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Draw the parameters."""
        super().__init__(inputs, width, layers)
        for layer in range(1, layers):
            self.add(f"depth_l{layer}", 2, width)

    def rule_of(self, layer: int) -> Rule:
        """Give what a layer computes between its products."""
        return self.upper if layer else self.rule

    def weights(self, layer: int) -> Weights:
        """Give the weights of a layer, with its peepholes and, if there is one below, those of its depth gate."""
        weights = super().weights(layer)
        if not layer:
            return weights
        return weights._replace(vectors=torch.cat([self.stack[f"peephole_l{layer}"], self.stack[f"depth_l{layer}"]]))

    def step(self, ops: Ops, inputs: Signal | Lookup) -> Signal:
        """Write one time step, each layer with the c of the one below."""
        below: str | None = None
        for layer in range(self.layers):
            inputs, below = self.write_layer(ops, layer, inputs, below)
        assert isinstance(inputs, Signal)
        return inputs
