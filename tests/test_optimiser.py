"""The optimiser: what it moves, how far, and that it goes on from where it was."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from model.cells import CELLS
from model.games import Chess
from model.network import NextMove, Shape
from model.optimiser import Optimiser

TINY = Shape(width=12, layers=2, embedding=10, channels=8, blocks=1, summary=4, key=3)


def make_network(shape: Shape = TINY) -> NextMove:
    torch.manual_seed(0)
    return NextMove(Chess(), shape)


def give_gradients(network: NextMove, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 1e-3


def step(network: NextMove, optimiser: Optimiser, rate: float, seed: int = 0) -> dict[str, Tensor]:
    """Take a step; give how far each parameter moved."""
    before = deepcopy(network.state_dict())
    give_gradients(network, seed)
    optimiser.step(rate)
    return {name: tensor - before[name] for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("kind", CELLS)
def test_every_parameter_moves_with_the_rate(kind: str) -> None:
    shape = Shape(**vars(TINY) | {"cell": kind})
    moved = {rate: step(network := make_network(shape), Optimiser(network, 0.0), rate) for rate in (0.0, 1e-3, 2e-3)}
    for name, change in moved[1e-3].items():
        assert change.abs().min() > 0 or change.numel() > 1, name
        assert change.abs().max() > 0, name
        assert not moved[0.0][name].any(), name
        torch.testing.assert_close(moved[2e-3][name], 2 * change, rtol=1e-2, atol=1e-5)


def test_a_matrix_moves_as_far_in_every_direction_whatever_the_size_of_its_gradient() -> None:
    network = make_network()
    moved = step(network, Optimiser(network, 0.0), 1e-3)
    convolution = moved["board.entry.weight"].flatten(1)
    gates = moved["cell.stack.weight_hh_l0"].split(TINY.width)
    for matrix in (convolution, *gates):
        lengths = torch.linalg.svdvals(matrix) / 0.01
        assert lengths.min() > 0.3
        assert lengths.max() < 1.5


def test_a_table_moves_by_the_rate() -> None:
    network = make_network()
    moved = step(network, Optimiser(network, 0.0), 1e-3)
    for name in ("tokens.weight", "linear.weight", "board.places", "board.entry.bias"):
        torch.testing.assert_close(moved[name].abs(), torch.full_like(moved[name], 1e-3), rtol=0.01, atol=1e-4)


def test_decay_pulls_everything_toward_zero() -> None:
    with_decay, without = make_network(), make_network()
    step(with_decay, Optimiser(with_decay, 1.0), 1e-2)
    step(without, Optimiser(without, 0.0), 1e-2)
    for (name, pulled), free in zip(with_decay.named_parameters(), without.parameters(), strict=True):
        if free.abs().max() > 0.1:
            assert pulled.norm() < free.norm(), name


def test_a_copy_of_the_state_goes_on_alike() -> None:
    network = make_network()
    optimiser = Optimiser(network, 0.01)
    step(network, optimiser, 1e-3)
    twin = deepcopy(network)
    again, fresh = Optimiser(twin, 0.01), deepcopy(network)
    again.load_state_dict(deepcopy(optimiser.state_dict()))
    step(network, optimiser, 1e-3, seed=1)
    step(twin, again, 1e-3, seed=1)
    step(fresh, Optimiser(fresh, 0.01), 1e-3, seed=1)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name]), name
    assert any(not torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in network.state_dict().items())
