"""Functions of tensors, element by element, that the rules of the cells are made of."""

import torch
from torch import Tensor

# From the gradient and the value: gradient × value × (1 − value), and gradient × (1 − value²).
sigmoid_backward = torch.ops.aten.sigmoid_backward.default
tanh_backward = torch.ops.aten.tanh_backward.default


def tanh_(value: Tensor) -> Tensor:
    """Give tanh(x) = 2 σ(2x) − 1 in place, which takes half the time of torch.tanh and differs in the last digit."""
    return value.mul_(2).sigmoid_().mul_(2).sub_(1)


def tanh(value: Tensor, out: Tensor) -> Tensor:
    """Give the same in another tensor."""
    return torch.mul(value, 2, out=out).sigmoid_().mul_(2).sub_(1)
