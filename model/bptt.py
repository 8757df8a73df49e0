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
    outputs, passed_on, *after = _Pass.apply(rule, inputs, *weights, beside, *states)  # type: ignore[no-untyped-call]
    return Layer(outputs, tuple(after), passed_on)


class _Pass(torch.autograd.Function):
    """One layer over a whole sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: Rule,
        inputs: Tensor,
        read: Tensor,
        bias: Tensor,
        recalled: Tensor,
        vectors: Tensor | None,
        beside: Tensor | None,
        *states: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Run the loop; see `read_sequence`."""
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") and read.dtype == torch.float32 else read.dtype
        length, rows, _ = inputs.shape
        width = recalled.shape[1]
        scratch = Scratch()
        inputs = scratch.empty(*inputs.shape, dtype=dtype).copy_(inputs)
        # h as the products read it, before the first step and after each.
        signal = torch.empty(length + 1, rows, width, dtype=dtype)
        lines = [signal if not rule.linear else scratch.empty(*signal.shape, dtype=read.dtype)]
        lines += [
            (torch.empty if rule.passes_on else scratch.empty)(length + 1, rows, width, dtype=read.dtype)
            for _ in states[1:]
        ]
        for line, state in zip(lines, states, strict=True):
            line[0].copy_(state)
        signal[0].copy_(states[0])
        kept = scratch.empty(length, rule.kept, rows, width, dtype=read.dtype)
        nothing = [None] * length
        steps = [
            Step(*each)
            for each in zip(
                zip(*(line[:-1].unbind(0) for line in lines), strict=True),
                zip(*(line[1:].unbind(0) for line in lines), strict=True),
                kept.unbind(0),
                nothing if beside is None else beside.unbind(0),
                strict=True,
            )
        ]
        no_vectors = read.new_empty(0, width) if vectors is None else vectors
        recall = Matrix(recalled.to(dtype), rows)
        signals = signal.unbind(0)
        for index, product in enumerate(_products(read.to(dtype), bias.to(dtype), inputs)):
            step = steps[index]
            recollection = recall(signals[index]).view(rows, rule.recalled, width).transpose(0, 1)
            rule.forward(product.view(rows, rule.read, width).transpose(0, 1), recollection, step, no_vectors)
            if rule.linear:
                signals[index + 1].copy_(step.after[0])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(read, recalled, no_vectors)
        ctx.rule, ctx.steps, ctx.scratch, ctx.inputs, ctx.signal = rule, steps, scratch, inputs, signal
        passed_on = lines[1][1:] if rule.passes_on else None
        return signal[1:], passed_on, *(line[-1].to(read.dtype, copy=True) for line in lines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outputs: Tensor | None, passed_on: Tensor | None, *after: Tensor | None) -> tuple[Any, ...]:
        """Run the loop from the end; see `read_sequence` for what the gradients are of."""
        rule, steps, inputs, signal = ctx.rule, ctx.steps, ctx.inputs, ctx.signal
        read, recalled, vectors = ctx.saved_tensors
        length, (rows, width) = len(steps), signal.shape[1:]
        dtype = signal.dtype
        states = [read.new_zeros(rows, width) if state is None else state.clone() for state in after]
        states += [read.new_zeros(rows, width) for _ in range(rule.states - len(states))]
        by_read = ctx.scratch.empty(length, rows, rule.read, width, dtype=dtype)
        by_recalled = by_read[:, :, : rule.recalled]
        if rule.apart:
            by_recalled = ctx.scratch.empty(length, rows, rule.recalled, width, dtype=dtype)
        by_beside = torch.empty(length, rows, width, dtype=read.dtype) if ctx.needs_input_grad[6] else None
        totals = read.new_zeros(len(vectors), rows, width)
        gradients = Gradients(states, by_read[0], by_recalled[0], totals)
        back = Matrix(recalled.to(dtype).t(), rows)
        recollection = torch.zeros_like(states[0]) if rule.linear else states[0].clone()
        for index in reversed(range(length)):
            step = steps[index]
            if rule.linear:
                states[0].add_(recollection)
            else:
                states[0].copy_(recollection)
            if outputs is not None:
                states[0].add_(outputs[index])
            if passed_on is not None:
                states[1].add_(passed_on[index])
            gradients.read, gradients.recalled = by_read[index].transpose(0, 1), by_recalled[index].transpose(0, 1)
            gradients.beside = None if by_beside is None else by_beside[index]
            rule.backward(step, vectors, gradients)
            recollection = back(by_recalled[index].reshape(rows, -1))
        if rule.linear:
            states[0].add_(recollection)
        else:
            states[0].copy_(recollection)
        flat, recalled_flat = by_read.flatten(2).flatten(0, 1), by_recalled.flatten(2).flatten(0, 1)
        by_inputs = (flat @ read.to(dtype)).view(inputs.shape).to(read.dtype) if ctx.needs_input_grad[1] else None
        return (
            None,
            by_inputs,
            (flat.t() @ inputs.flatten(0, 1)).to(read.dtype),
            flat.sum(0, dtype=read.dtype),
            (recalled_flat.t() @ signal[:-1].flatten(0, 1)).to(read.dtype),
            totals.sum(1) if len(vectors) else None,
            by_beside,
            *states,
        )


def _products(weight: Tensor, bias: Tensor, inputs: Tensor) -> Iterator[Tensor]:
    """Give weight x + bias [B, outputs] for each step of ``inputs [T, B, inputs]``, many steps in one product."""
    rows = inputs.shape[1]
    together = max(1, _ROWS // rows)
    matrix = Matrix(weight, together * rows)
    for part in inputs.split(together):
        yield from matrix(part.flatten(0, 1)).add_(bias).unflatten(0, (-1, rows)).unbind(0)
