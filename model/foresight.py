"""Reads the features of a board and the memory and foresees the board two plies later: a side loss, never served."""

from torch import Tensor, nn
from torch.nn import functional

from model.batches import NOTHING
from model.games import Grid
from model.network import Shape


class Foresight(nn.Module):
    """Scores every code of every cell of the board that the same player will see next.

    To know what is about to happen is worth learning beside which move is played: the board says it of 64 cells at
    every ply, the move of one.
    """

    def __init__(self, grid: Grid, shape: Shape) -> None:
        """Read a cell as `MoveHead` does: its features together with the memory."""
        super().__init__()
        self.local = nn.Conv2d(shape.channels, shape.channels, 1)
        self.memory = nn.Linear(shape.width, shape.channels, bias=False)
        self.codes = nn.Conv2d(shape.channels, grid.codes, 1)

    def forward(self, features: Tensor, memory: Tensor, later: Tensor) -> Tensor:
        """Give the sum over plies and cells of −ln p of the codes in ``later``; 0 where a game has no such ply.

        features: float [N, channels, rows, columns];  memory: float [N, width];  later: int64 [N, cells]
        """
        mixed = functional.relu(self.local(features) + self.memory(memory)[:, :, None, None])
        scores = self.codes(mixed).flatten(2).float()
        return functional.cross_entropy(scores, later, ignore_index=NOTHING, reduction="sum")
