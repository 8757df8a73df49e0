"""The clockwork recurrent network: its training and its step in a graph."""

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from model.bptt import Gradients, Rule, Step, Weights
from model.cells.cell import Cell, State
from model.cells.pointwise import tanh_, tanh_backward
from model.stepgraph import Lookup, Ops, Signal

# Periods 1, 2, 4, … 128: the slowest module still moves within a long game.
_MODULES = 8


class ClockworkRule(Rule):
    """Kept: the candidate. Beside: 1 where a unit is active, else 0."""

    read = recalled = kept = 1
    linear = True

    def forward(self, read: Tensor, recalled: Tensor, step: Step, vectors: Tensor) -> None:
        """See `Clockwork`."""
        assert step.beside is not None
        candidate = tanh_(step.kept.copy_(read).add_(recalled))[0]
        torch.lerp(step.before[0], candidate, step.beside, out=step.after[0])

    def backward(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """Through the tanh of the active units, and past the others."""
        assert step.beside is not None
        (h,) = gradients.states
        active = h * step.beside
        gradients.read[0].copy_(tanh_backward(active, step.kept[0]))
        h.sub_(active)


class Clockwork(Cell):
    """Clockwork recurrent network (Koutník et al. 2014, arXiv 1402.3511).

    h'ₘ = tanh(W x + Σₙ Rₘₙ hₙ + b) at every step t that the period Tₘ divides, else hₘ; the sum is over Tₙ ≥ Tₘ

    The units are cut into modules, as equal as can be, with periods 1, 2, 4, …; the first step of a game is t = 0.
    State: h, and t modulo the longest period [1, B, 1], the same for all layers.
    """

    kind = "clockwork"
    rule = ClockworkRule()
    periods: Tensor
    slower: Tensor

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Draw the parameters and cut the units into modules."""
        super().__init__(inputs, width, layers)
        modules = min(_MODULES, width)
        module = torch.arange(width) * modules // width
        self.longest = 2 ** (modules - 1)
        self.register_buffer("periods", 2.0**module, persistent=False)
        self.register_buffer("slower", (module[None] >= module[:, None]).float(), persistent=False)

    def weights(self, layer: int) -> Weights:
        """Give the weights of a layer; a module does not hear faster ones."""
        weights = super().weights(layer)
        return weights._replace(recalled=weights.recalled * self.slower)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read ``[T, B, inputs]`` from a state on; give ``[T, B, width]`` and the state after the last step."""
        length, rows, _ = inputs.shape
        clock = self.periods.new_zeros(1, rows, 1) if state is None else state[1]
        time = clock + torch.arange(length, dtype=clock.dtype)[:, None, None]
        active = (time % self.periods == 0).to(clock.dtype)
        outputs, after = inputs, list[Tensor]()
        for layer, states in enumerate(self.states_of_layers(inputs, state and state[:1])):
            outputs, ends, _ = self.read(layer, outputs, states, active)
            after += ends
        return outputs, (torch.stack(after), (clock + length) % self.longest)

    def step(self, ops: Ops, inputs: Signal | Lookup) -> Signal:
        """Write one time step, with the state tensor ``clock`` for all layers."""
        clock = ops.float_state("clock", 1)
        periods, longest = (ops.constant(np.float32(value)) for value in (self.periods.numpy(), self.longest))
        nothing, one = (ops.constant(np.float32(value)) for value in (0, 1))
        self._active = ops.node("Equal", ops.node("Mod", clock, periods, fmod=1), nothing)
        ops.output_state("clock", ops.node("Mod", ops.node("Add", clock, one), longest, fmod=1))
        return super().step(ops, inputs)

    def write(self, ops: Ops, layer: int, inputs: Signal | Lookup) -> Signal:
        """Write the step with the state tensor ``h0``."""
        weights = self.arrays(layer)
        before = ops.memory_state(f"h{layer}", self.width)
        read = ops.product(inputs, weights.read, weights.bias)
        candidate = ops.node("Tanh", ops.node("Add", read, ops.product(before, weights.recalled)))
        ops.gate(layer, "candidate", candidate, self.width)
        ops.gate(layer, "active", ops.node("Cast", self._active, to=TensorProto.FLOAT), self.width)
        after = ops.memory(candidate)
        chosen = ops.node("Where", self._active, after.name, before.name)
        ops.output_state(f"h{layer}", Signal(chosen, after.scale, after.zero))
        return Signal(chosen, after.scale, after.zero)
