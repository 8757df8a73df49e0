"""Reads a sequence and one recurrent layer's weights and gives its outputs: backpropagation through time, by hand.

The loop over time, the products and the gradients of the weights are the same for every cell. What a cell does between
the products of a step is its `Rule`. In float32 and float64 the gradients are those of autograd; under autocast the
products read bfloat16, and what a rule computes stays float32.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.products import Matrix, Scratch

# Rows of a product over several steps: enough to keep the processor busy, few enough to stay in its caches.
_ROWS = 256


class Weights(NamedTuple):
    """One layer: ``read [blocks × width, inputs]``, its bias, ``recalled [blocks × width, width]``, and ``vectors``.

    A block is what one gate needs. Vectors [any number, width] are parameters that a rule multiplies elementwise.
    """

    read: Tensor
    bias: Tensor
    recalled: Tensor
    vectors: Tensor | None = None


@dataclass(slots=True)
class Step:
    """One step of a layer over B rows. States, the output h first, and ``beside`` are [B, width].

    ``kept`` [blocks, B, width] is for what `Rule.backward` needs; ``beside`` is another input that the rule reads.
    """

    before: Sequence[Tensor]
    after: Sequence[Tensor]
    kept: Tensor
    beside: Tensor | None


@dataclass(slots=True)
class Gradients:
    """Of the loss: with respect to the states after a step, which a rule turns into that of the states before.

    A rule fills ``read`` and ``recalled`` [blocks, B, width] and ``beside`` [B, width]; to ``vectors``
    [vectors, B, width] it adds, since they are the same at every step.
    """

    states: list[Tensor]
    read: Tensor
    recalled: Tensor
    vectors: Tensor
    beside: Tensor | None = None


class Rule(ABC):
    """What a cell computes between the products of a step, and its derivative."""

    read: int
    """Blocks of the product with the input."""
    recalled: int
    """Blocks of the product with h. Where both have the same gradient, ``apart`` is False."""
    apart = False
    kept: int
    """Blocks that forward leaves for backward."""
    states = 1
    """State tensors; the first is h, which is also the output."""
    linear = False
    """Whether h also goes into the next h elementwise: then it is kept in full precision, and backward gets its
    gradient to turn into that of the h before. Otherwise the product alone has read it, and backward leaves it."""
    passes_on = False
    """Whether the layer above reads the second state, too, as ``beside``."""

    @abstractmethod
    def forward(self, read: Tensor, recalled: Tensor, step: Step, vectors: Tensor) -> None:
        """Fill ``step.after`` and ``step.kept`` from the products [blocks, B, width]."""

    @abstractmethod
    def backward(self, step: Step, vectors: Tensor, gradients: Gradients) -> None:
        """Turn gradients after the step into gradients before it."""


class Layer(NamedTuple):
    """What a pass gives: outputs [T, B, width], the states after it, and the second state of every step or None."""

    outputs: Tensor
    states: tuple[Tensor, ...]
    passed_on: Tensor | None


def read_sequence(
    rule: Rule, weights: Weights, inputs: Tensor, states: Sequence[Tensor], beside: Tensor | None = None
) -> Layer:
    """Read ``inputs [T, B, inputs]`` from ``states``, each [B, width], on; ``beside`` is [T, B, width]."""
    outputs, passed_on, *after = _Recurrence.apply(rule, inputs, beside, *weights, *states)  # type: ignore[no-untyped-call]
    return Layer(outputs, tuple(after), passed_on)


class _Recurrence(torch.autograd.Function):
    """One layer over a whole sequence, as autograd sees it."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: Rule,
        inputs: Tensor,
        beside: Tensor | None,
        read: Tensor,
        bias: Tensor,
        recalled: Tensor,
        vectors: Tensor | None,
        *states: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """See `read_sequence`."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(read, recalled, vectors)
        ctx.loop = loop = _Loop(rule, Weights(read, bias, recalled, vectors), inputs, beside, states)
        loop.forward()
        cells = loop.lines[-1][1:] if rule.passes_on else None
        return loop.signal[1:], cells, *(line[-1].to(read.dtype, copy=True) for line in loop.lines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outputs: Tensor | None, cells: Tensor | None, *after: Tensor | None) -> tuple[Any, ...]:
        """Give a gradient for each argument of forward."""
        # Asked for, so that autograd says if weights were changed in place since.
        loop, _ = ctx.loop, ctx.saved_tensors
        gradients = loop.gradients(after, with_beside=ctx.needs_input_grad[2])
        loop.backward(gradients, outputs, cells)
        by_inputs = loop.by_inputs(gradients) if ctx.needs_input_grad[1] else None
        by_vectors = gradients.vectors.sum(1) if len(gradients.vectors) else None
        return None, by_inputs, gradients.beside, *loop.by_weights(gradients), by_vectors, *gradients.states


class _Loop:
    """One layer over a whole sequence: its tensors, and both ways through them."""

    def __init__(
        self, rule: Rule, weights: Weights, inputs: Tensor, beside: Tensor | None, states: Sequence[Tensor]
    ) -> None:
        """Make room for what every step keeps."""
        self.rule, self.full, self.scratch = rule, weights.read.dtype, Scratch()
        mixed = torch.is_autocast_enabled("cpu") and self.full == torch.float32
        self.dtype = torch.bfloat16 if mixed else self.full
        self.read, self.bias, self.recalled = (weight.to(self.dtype) for weight in weights[:3])
        self.vectors = weights.read.new_empty(0, 0) if weights.vectors is None else weights.vectors
        self.shape = *inputs.shape[:2], weights.recalled.shape[1]
        length, rows, width = self.shape
        self.inputs = self.scratch.empty(*inputs.shape, dtype=self.dtype).copy_(inputs)
        # h before every step and after the last, as the products read it; what comes out is no scratch memory.
        self.signal = torch.empty(length + 1, rows, width, dtype=self.dtype)
        self.signal[0].copy_(states[0])
        self.lines = [self._line() if rule.linear else self.signal, *(self._line() for _ in states[1:])]
        for line, state in zip(self.lines, states, strict=True):
            line[0].copy_(state)
        befores, afters = ([line[part].unbind(0) for line in self.lines] for part in (slice(-1), slice(1, None)))
        kept = self.scratch.empty(length, rule.kept, rows, width, dtype=self.full).unbind(0)
        besides = [None] * length if beside is None else beside.unbind(0)
        self.steps = list(map(Step, zip(*befores, strict=True), zip(*afters, strict=True), kept, besides))

    def _line(self) -> Tensor:
        """Make room for a state before every step and after the last."""
        length, rows, width = self.shape
        empty = torch.empty if self.rule.passes_on else self.scratch.empty
        return empty(length + 1, rows, width, dtype=self.full)

    def forward(self) -> None:
        """Go through the steps."""
        _, rows, width = self.shape
        recall, signal = Matrix(self.recalled, rows), self.signal.unbind(0)
        products = _products(self.read, self.bias, self.inputs)
        for step, product, before, after in zip(self.steps, products, signal[:-1], signal[1:], strict=True):
            read, recalled = (part.view(rows, -1, width).transpose(0, 1) for part in (product, recall(before)))
            self.rule.forward(read, recalled, step, self.vectors)
            if self.rule.linear:
                after.copy_(step.after[0])

    def gradients(self, after: Sequence[Tensor | None], with_beside: bool) -> Gradients:
        """Give those after the last step, and room for those of every step [T, …]."""
        length, rows, width = self.shape
        read = self.scratch.empty(length, rows, self.rule.read, width, dtype=self.dtype)
        recalled = read[:, :, : self.rule.recalled]
        if self.rule.apart:
            recalled = self.scratch.empty(*recalled.shape, dtype=self.dtype)
        return Gradients(
            [torch.zeros(rows, width, dtype=self.full) if state is None else state.clone() for state in after],
            read.transpose(1, 2),
            recalled.transpose(1, 2),
            torch.zeros(len(self.vectors), rows, width, dtype=self.full),
            torch.empty(self.shape, dtype=self.full) if with_beside else None,
        )

    def backward(self, gradients: Gradients, outputs: Tensor | None, cells: Tensor | None) -> None:
        """Go back through the steps, with the gradients of the outputs and of the last states."""
        recall, states = Matrix(self.recalled.t(), self.shape[1]), gradients.states
        for index, step in reversed(list(enumerate(self.steps))):
            if outputs is not None:
                states[0].add_(outputs[index])
            if cells is not None:
                states[-1].add_(cells[index])
            here = Gradients(
                states,
                gradients.read[index],
                gradients.recalled[index],
                gradients.vectors,
                None if gradients.beside is None else gradients.beside[index],
            )
            self.rule.backward(step, self.vectors, here)
            recollection = recall(here.recalled.transpose(0, 1).flatten(1))
            if self.rule.linear:
                states[0].add_(recollection)
            else:
                states[0].copy_(recollection)

    def by_inputs(self, gradients: Gradients) -> Tensor:
        """Give the gradient of the inputs."""
        by_read = gradients.read.transpose(1, 2).flatten(2)
        return torch.stack(list(_products(self.read.t(), None, by_read))).to(self.full)

    def by_weights(self, gradients: Gradients) -> Iterator[Tensor]:
        """Give the gradients of ``read``, of the bias, and of ``recalled``."""
        parts = (gradients.read, gradients.recalled)
        read, recalled = (part.transpose(1, 2).flatten(2).flatten(0, 1) for part in parts)
        yield (read.t() @ self.inputs.flatten(0, 1)).to(self.full)
        # A product with ones: four times as fast as a sum over the rows of bfloat16.
        yield (read.new_ones(1, len(read)) @ read)[0].to(self.full)
        yield (recalled.t() @ self.signal[:-1].flatten(0, 1)).to(self.full)


def _products(weight: Tensor, bias: Tensor | None, inputs: Tensor) -> Iterator[Tensor]:
    """Give weight x + bias [B, outputs] for each step of ``inputs [T, B, inputs]``, many steps in one product."""
    rows = inputs.shape[1]
    together = max(1, _ROWS // rows)
    matrix = Matrix(weight, together * rows, bias)
    for part in inputs.split(together):
        yield from matrix(part.flatten(0, 1)).unflatten(0, (-1, rows)).unbind(0)
