"""Reads a network's gradients and gives better weights: Muon for the matrices, AdamW for everything else."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from model.network import NextMove

# Muon moves a matrix by a share of its own size, AdamW every number by a step: ten times the rate suits it best.
_RATIO = 10.0


class Optimiser:
    """Takes steps on all parameters of a network.

    The weights of linear layers, convolutions and cells go through Muon (Jordan et al. 2024, "Muon: an optimizer for
    hidden layers in neural networks"), which gives every direction of a step the same length, so that what the gradient
    hardly shows is learnt as fast as what it shows loudest. A convolution is the matrix ``[out, in × k × k]``, and each
    gate of a cell is a matrix of its own. Tables, biases and the scores of the vocabulary go through AdamW.
    """

    def __init__(self, network: NextMove, decay: float, beside: nn.Module | None = None) -> None:
        """Tell matrices from the rest, to which all parameters of a module ``beside`` the network belong.

        ``decay`` is the weight decay, in shares of the learning rate.
        """
        self._parts = list(_parts(network))
        matrices = {id(parameter) for parameter, *_ in self._parts}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in matrices]
        rest += beside.parameters() if beside else ()
        self._adamw = torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=decay)
        self._muon = torch.optim.Muon([part for *_, part in self._parts], weight_decay=decay / _RATIO)

    def step(self, rate: float) -> None:
        """Take a step against the gradients, which every parameter has."""
        for parameter, rows, part in self._parts:
            assert parameter.grad is not None
            part.grad = parameter.grad.flatten(1)[rows]
        for optimiser, ratio in ((self._adamw, 1.0), (self._muon, _RATIO)):
            for group in optimiser.param_groups:
                group["lr"] = rate * ratio
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint keeps."""
        return {"adamw": self._adamw.state_dict(), "muon": self._muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self._adamw.load_state_dict(state["adamw"])
        self._muon.load_state_dict(state["muon"])


def _parts(network: NextMove) -> Iterator[tuple[Tensor, slice, nn.Parameter]]:
    """Give each matrix: the parameter it is in, its rows there, and the same memory as a parameter of two axes."""
    inner = (module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    weights = [module.weight for module in inner if module is not network.linear]
    sizes = [(weight, len(weight)) for weight in weights]
    sizes += [(weight, network.cell.width) for weight in network.cell.parameters() if weight.ndim == 2]
    for weight, size in sizes:
        for start in range(0, len(weight), size):
            rows = slice(start, start + size)
            yield weight, rows, nn.Parameter(weight.detach().flatten(1)[rows])
