"""The blocks of a board encoder by kind: each reads features of every cell and gives as many, and writes its step."""

from torch import Tensor, nn
from torch.nn import functional

from model.stepgraph import Array, Ops, Signal


def weights_of(module: nn.Module) -> dict[str, Array]:
    """Give a module's parameters by name."""
    return {name: tensor.detach().numpy() for name, tensor in module.named_parameters()}


def write_convolution(ops: Ops, signal: Signal, layer: nn.Conv2d, point: str, rectify: bool = True) -> Signal:
    """Write a convolution that keeps the size of the board; ``point`` names its place for calibration."""
    weights = weights_of(layer)
    return ops.convolve(signal, weights["weight"], weights["bias"], point, rectify=rectify, groups=layer.groups)


class Block(nn.Module):
    """relu(x + change(x)), where change is convolutions with relu between them.

    It begins as the identity, so that a deep network begins as a shallow one.
    """

    def __init__(self, **layers: nn.Conv2d) -> None:
        """Take the convolutions in their order."""
        super().__init__()
        self._layers = list(layers.items())
        for name, layer in self._layers:
            self.add_module(name, layer)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """``[N, channels, rows, columns]`` to the same."""
        *inner, (_, last) = self._layers
        change = features
        for _, layer in inner:
            change = functional.relu(layer(change))
        return functional.relu(features + last(change))

    def write(self, ops: Ops, features: Signal, point: str) -> Signal:
        """Write ``forward`` into a graph."""
        *inner, (name, last) = self._layers
        change = features
        for place, layer in inner:
            change = write_convolution(ops, change, layer, f"{point}.{place}")
        change = write_convolution(ops, change, last, f"{point}.{name}", rectify=False)
        return ops.add_rectified(features, change, point)


class Residual(Block):
    """Two whole 3 × 3 convolutions (He et al. 2016, Deep residual learning for image recognition)."""

    def __init__(self, channels: int) -> None:
        """Make both with ``channels`` in and out."""
        super().__init__(
            first=nn.Conv2d(channels, channels, 3, padding=1), second=nn.Conv2d(channels, channels, 3, padding=1)
        )


class Inverted(Block):
    """Three convolutions that mix cells and channels apart (Sandler et al. 2018, MobileNetV2).

    ``widen`` makes twice as many channels of a cell, ``spread`` mixes the cells of each channel, 3 × 3 at a time, and
    ``shrink`` mixes the channels again: a quarter of the products of `Residual`.
    """

    def __init__(self, channels: int) -> None:
        """Make all three."""
        wide = 2 * channels
        super().__init__(
            widen=nn.Conv2d(channels, wide, 1),
            spread=nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            shrink=nn.Conv2d(wide, channels, 1),
        )


BLOCKS: dict[str, type[Residual] | type[Inverted]] = {"residual": Residual, "inverted": Inverted}


def make_block(kind: str, channels: int) -> Block:
    """Make a block of one kind; ValueError if there is no such kind."""
    if kind not in BLOCKS:
        raise ValueError(f"there is no block {kind!r}; there are {', '.join(BLOCKS)}")
    return BLOCKS[kind](channels)
