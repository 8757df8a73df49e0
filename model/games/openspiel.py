"""Reads any two-player game of OpenSpiel by its name and gives ids, boards and legal moves."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import pyspiel

from model.games.context import Field
from model.games.game import Cells, Grid, IllegalMove, Notation
from model.vocabulary import Vocabulary

_MOST_PLANES_AS_BITS = 6
_NAMED = 8


class OpenSpielPosition:
    """One running game; an id is OpenSpiel's action."""

    def __init__(self, state: Any, grid: Grid | None) -> None:
        """Take OpenSpiel's state."""
        self._state, self._grid = state, grid
        self.ply = 0

    @property
    def player(self) -> int:
        """Who is to move; 0 once the game is over."""
        return max(int(self._state.current_player()), 0)

    def find(self, move: str) -> int:
        """Give the action that OpenSpiel writes as ``move``."""
        written: dict[str, int] = {self._state.action_to_string(action): action for action in self.legal()}
        if move in written:
            return written[move]
        some = ", ".join(list(written)[:_NAMED]) + (" …" if len(written) > _NAMED else "")
        raise IllegalMove(f"{move[:40]!r} is not legal here: {f'legal are {some}' if written else 'the game is over'}")

    def play(self, move_id: int) -> None:
        """Apply a legal action."""
        self._state.apply_action(move_id)
        self.ply += 1

    def legal(self) -> list[int]:
        """Give the legal actions, none once the game is over."""
        return [] if self._state.is_terminal() else list(self._state.legal_actions())

    def cells(self) -> bytes:
        """Give the observation planes of the player to move, folded into one code per cell."""
        if self._grid is None:
            return b""
        planes = np.asarray(self._state.observation_tensor(self.player), dtype=np.uint8)
        return _fold(planes.reshape(-1, self._grid.cells)).tobytes()

    def notation(self, move_id: int) -> Notation:
        """Write the action as OpenSpiel does, or as its number if it is not legal."""
        legal = move_id in self.legal()
        return Notation(self._state.action_to_string(move_id) if legal else str(move_id))

    def copy(self) -> "OpenSpielPosition":
        """Give a position that can be played on without changing this one."""
        twin = copy(self)
        twin._state = self._state.clone()
        return twin


def _fold(planes: np.ndarray) -> np.ndarray:
    """Give one code per cell: few planes are its bits, many hold at most one piece, whose plane is the code."""
    if len(planes) <= _MOST_PLANES_AS_BITS:
        bits: np.ndarray = (planes.astype(bool) << np.arange(len(planes))[:, None]).sum(0).astype(np.uint8)
        return bits
    return np.where(planes.any(0), planes.argmax(0) + 1, 0).astype(np.uint8)


class OpenSpielGame:
    """A deterministic game of perfect information that two players play in turns."""

    context: tuple[Field, ...] = ()
    seen_sizes = (2,)

    def __init__(self, name: str) -> None:
        """Load the rules; ValueError if OpenSpiel has no such game, or one with chance or hidden information."""
        kind = next((kind for kind in pyspiel.registered_games() if kind.short_name == name), None)
        if kind is None or not kind.default_loadable:
            raise ValueError(
                f"no game is named {name!r}: chess, tokens, or a name that OpenSpiel knows, such as othello"
            )
        self.name = name
        self._rules = pyspiel.load_game(name)
        plain = (
            kind.chance_mode == pyspiel.GameType.ChanceMode.DETERMINISTIC
            and kind.information == pyspiel.GameType.Information.PERFECT_INFORMATION
            and kind.dynamics == pyspiel.GameType.Dynamics.SEQUENTIAL
            and self._rules.num_players() == 2
        )
        if not plain:
            raise ValueError(f"{name!r} cannot be served: only two-player games in turns, without chance, all in sight")
        actions = self._rules.num_distinct_actions()
        self.vocabulary = Vocabulary(tuple(str(action) for action in range(actions)))
        self.grid = self._find_grid(kind)
        self.move_cells = self._find_move_cells()

    def _find_grid(self, kind: Any) -> Grid | None:
        shape = self._rules.observation_tensor_shape() if kind.provides_observation_tensor else []
        if len(shape) != 3:
            return None
        planes, rows, columns = shape
        return Grid(rows, columns, 1 << planes if planes <= _MOST_PLANES_AS_BITS else planes + 1)

    def _find_move_cells(self) -> Cells | None:
        """Give destination cells where an action is a cell (with or without one more action to pass)."""
        actions = len(self.vocabulary)
        if self.grid is None or actions not in (self.grid.cells, self.grid.cells + 1):
            return None
        destinations = np.where(np.arange(actions) < self.grid.cells, np.arange(actions), -1)
        return np.stack([np.full(actions, -1), destinations], axis=1).astype(np.int32)

    def seen(self, context: Sequence[int], player: int) -> list[int]:
        """Give which side is to move."""
        return [player]

    def new_position(self) -> OpenSpielPosition:
        """Give the starting position."""
        return OpenSpielPosition(self._rules.new_initial_state(), self.grid)

    def describe(self) -> Mapping[str, Any]:
        """Give OpenSpiel's name of the game."""
        return {"name": self.name}
