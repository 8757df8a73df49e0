"""The recurrent cells by kind: each reads a sequence of vectors and a state and gives as many and a new state."""

from model.cells.cell import Cell, State
from model.cells.clockwork import Clockwork
from model.cells.depth_gated import DepthGated
from model.cells.gru import GRU
from model.cells.lstm import LSTM
from model.cells.peephole import Peephole
from model.cells.rnn import RNN

CELLS: dict[str, type[Cell]] = {cell.kind: cell for cell in (RNN, LSTM, GRU, Peephole, DepthGated, Clockwork)}

__all__ = ["CELLS", "Cell", "State", "make_cell"]


def make_cell(kind: str, inputs: int, width: int, layers: int) -> Cell:
    """Make a stack of layers of one kind; ValueError if there is no such kind."""
    if kind not in CELLS:
        raise ValueError(f"there is no cell {kind!r}; there are {', '.join(CELLS)}")
    return CELLS[kind](inputs, width, layers)
