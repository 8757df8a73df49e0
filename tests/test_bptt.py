"""Backpropagation through time by hand, for every cell: its gradients are those of the functions it computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from model.cells import CELLS, Cell, State, make_cell

INPUTS, WIDTH, LAYERS, ROWS, STEPS = 3, 4, 2, 2, 6
LIBRARY = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
each_kind = pytest.mark.parametrize("kind", CELLS)


def make(kind: str, width: int = WIDTH) -> Cell:
    torch.manual_seed(1)
    return make_cell(kind, INPUTS, width, LAYERS)


def inputs_of(steps: int = STEPS, **options: Any) -> Tensor:
    return torch.randn(steps, ROWS, INPUTS, generator=torch.Generator().manual_seed(2), **options)


def state_of(cell: Cell) -> State:
    """Give a state that a game may be in: the end of another sequence."""
    with torch.no_grad():
        _, state = cell(inputs_of(3, dtype=next(cell.parameters()).dtype) * 2)
    return tuple(part.clone() for part in state)


def backward(cell: Cell, inputs: Tensor, state: State | None, mixed: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Give what a cell gives, and the gradients of a function of all of it."""
    inputs = inputs.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        outputs, after = cell(inputs, state)
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=inputs.dtype).view_as(outputs)
    loss = (outputs.to(inputs.dtype) * weights).sum() + sum((part * part).sum() for part in after)
    names = [name for name, _ in cell.named_parameters()]
    gradients = torch.autograd.grad(loss, [inputs, *cell.parameters()])
    return outputs.detach(), dict(zip(["inputs", *names], gradients, strict=True))


@each_kind
def test_gradients_are_those_of_small_differences(kind: str) -> None:
    cell = make(kind).double()
    state = state_of(cell)
    names = [name for name, _ in cell.named_parameters()]
    # The first state is h; a clock, which has no gradient, is as wide as one unit.
    carried = [part.requires_grad_(part.shape[-1] == WIDTH) for part in state]

    def run(inputs: Tensor, *rest: Tensor) -> Any:
        parameters, begin = dict(zip(names, rest[: len(names)], strict=True)), rest[len(names) :]
        outputs, after = functional_call(cell, parameters, (inputs, tuple(begin)))
        return outputs, *(part for part in after if part.requires_grad)

    inputs = inputs_of(dtype=torch.float64, requires_grad=True)
    parameters = [parameter.detach().clone().requires_grad_() for parameter in cell.parameters()]
    assert torch.autograd.gradcheck(run, (inputs, *parameters, *carried), atol=1e-6)


@pytest.mark.parametrize("kind", LIBRARY)
@pytest.mark.parametrize("begin", [None, state_of], ids=["new", "carried on"])
def test_the_cells_of_the_library_give_the_same(kind: str, begin: Callable[[Cell], State] | None) -> None:
    cell, library = make(kind), LIBRARY[kind](INPUTS, WIDTH, LAYERS)
    library.load_state_dict({name.removeprefix("stack."): tensor for name, tensor in cell.state_dict().items()})
    state = None if begin is None else begin(cell)

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stack = library

        def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
            whole = state and (state if kind == "lstm" else state[0])
            outputs, after = library(inputs, whole)
            return outputs, after if kind == "lstm" else (after,)

    outputs, gradients = backward(cell, inputs_of(), state)
    expected, exact = backward(Same(), inputs_of(), state)  # type: ignore[arg-type]
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
    assert gradients.keys() == exact.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, exact[name], rtol=1e-5, atol=1e-5)


@each_kind
def test_bfloat16_products_stay_near(kind: str) -> None:
    cell = make(kind, width=32)
    outputs, exact = backward(cell, inputs_of(20), None)
    rough, gradients = backward(cell, inputs_of(20), None, mixed=True)
    torch.testing.assert_close(rough.float(), outputs, rtol=0, atol=0.03)
    assert not torch.equal(rough.float(), outputs)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        assert (gradient - exact[name]).norm() < 0.05 * exact[name].norm() + 1e-4, name


@each_kind
def test_two_passes_that_hand_on_the_state_give_what_one_gives(kind: str) -> None:
    cell, inputs = make(kind), inputs_of(11)
    with torch.no_grad():
        whole, end = cell(inputs)
        first, state = cell(inputs[:4])
        second, after = cell(inputs[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-6)
    for part, expected in zip(after, end, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)


@each_kind
def test_passes_that_overlap_keep_their_memory_apart(kind: str) -> None:
    cell, one, other = make(kind), inputs_of(5).requires_grad_(), (inputs_of(5) * -1).requires_grad_()
    together = [cell(one)[0], cell(other)[0]]
    for outputs in together:
        outputs.square().sum().backward()
    for inputs in (one, other):
        alone = inputs.detach().clone().requires_grad_()
        cell(alone)[0].square().sum().backward()
        assert torch.equal(alone.grad, inputs.grad)


@each_kind
def test_no_step_sees_what_comes_after_it_nor_another_row(kind: str) -> None:
    cell, inputs = make(kind), inputs_of()
    changed = inputs.clone()
    changed[3:, 0] += 1
    with torch.no_grad():
        before, after = cell(inputs)[0], cell(changed)[0]
    assert torch.equal(before[:3], after[:3])
    assert torch.equal(before[:, 1], after[:, 1])
    assert (before[3:, 0] - after[3:, 0]).abs().max() > 1e-3


@each_kind
def test_weights_that_changed_since_give_no_gradient(kind: str) -> None:
    cell = make(kind)
    outputs, _ = cell(inputs_of())
    with torch.no_grad():
        cell.stack["weight_ih_l0"].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()
