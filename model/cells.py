"""The recurrent cells: each reads a sequence of vectors and a state and gives a sequence of vectors and a new state."""

from typing import Protocol

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


class Cell(Protocol):
    """A stack of recurrent layers; ``width`` is the size of what it gives.

    ``forward`` takes ``[T, B, inputs]`` and a state (None for a new game) and gives ``[T, B, width]`` and a state.
    """

    kind: str
    width: int
    layers: int

    def __call__(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read a sequence."""


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate by Gers et al. 2000).

    i, f, o = σ(W x + R h + b);  g = tanh(W x + R h + b);  c' = f ⊙ c + i ⊙ g;  h' = o ⊙ tanh(c')

    State: h and c, each ``[layers, B, width]``, zero for a new game.
    """

    kind = "lstm"

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        """Make a stack of layers, each ``width`` wide; forget gates start open."""
        super().__init__()
        self.width, self.layers = width, layers
        self.stack = nn.LSTM(inputs, width, layers)
        with torch.no_grad():
            for layer in range(layers):
                bias = getattr(self.stack, f"bias_ih_l{layer}")
                bias[width : 2 * width] = 1.0

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read ``[T, B, inputs]``; give ``[T, B, width]`` and the state after the last step."""
        outputs: Tensor
        outputs, after = self.stack(inputs, None if state is None else (state[0], state[1]))
        return outputs, after
