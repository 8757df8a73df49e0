"""Reads any two-player game of OpenSpiel by its name and gives ids, boards and legal moves."""

import random
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyspiel

from model.games.context import Field
from model.games.game import Cells, Grid, IllegalMove, Notation
from model.vocabulary import Vocabulary

_MOST_PLANES_AS_BITS = 6
_PLIES_PROBED = 60
_NAMED = 8

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Board:
    """How OpenSpiel's planes become codes.

    Few planes are bits of a code, ``weights`` says which for each player; the highest bit marks the last move where
    moves are cells. Many planes hold at most one piece a cell, and its plane is the code.
    """

    grid: Grid
    weights: tuple[_Bytes, _Bytes] | None
    marks_last: bool = False

    def read(self, state: Any, player: int, last: int | None) -> bytes:
        """Give one code per cell."""
        planes = _planes(state, player, self.grid.cells)
        if self.weights is None:
            return np.where(planes.any(0), planes.argmax(0) + 1, 0).astype(np.uint8).tobytes()
        codes: _Bytes = self.weights[player] @ planes.astype(bool)
        if self.marks_last and last is not None and last < self.grid.cells:
            codes[last] += self.grid.codes // 2
        return codes.tobytes()


def _planes(state: Any, player: int, cells: int) -> _Bytes:
    """Give what OpenSpiel shows to a player, ``uint8 [planes, cells]``."""
    return np.asarray(state.observation_tensor(player), dtype=np.uint8).reshape(-1, cells)


def _order_of_second(state: Any, planes: int, cells: int) -> list[int]:
    """Say which plane means to the second player what each means to the first: own stones where own stones are.

    OpenSpiel shows some games to both players alike. In a random game a plane on which one player alone sets stones is
    that player's; where each has one such plane, they stand for each other.
    """
    rng, own, order = random.Random(0), (set[int](), set[int]()), list(range(planes))
    before = _planes(state, 0, cells)
    while not state.is_terminal() and state.move_number() < _PLIES_PROBED:
        mover = state.current_player()
        state.apply_action(rng.choice(state.legal_actions()))
        after = _planes(state, 0, cells)
        if not np.array_equal(after, _planes(state, 1, cells)):
            return order
        own[mover].update(plane for plane in order if (after > before)[plane].any() and not after[plane].all())
        before = after
    first, second = own[0] - own[1], own[1] - own[0]
    if len(first) == len(second) == 1:
        one, other = first.pop(), second.pop()
        order[one], order[other] = other, one
    return order


class OpenSpielPosition:
    """One running game; an id is OpenSpiel's action."""

    def __init__(self, state: Any, board: _Board | None) -> None:
        """Take OpenSpiel's state."""
        self._state, self._board = state, board
        self._last: int | None = None
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
        self._last = move_id
        self.ply += 1

    def legal(self) -> list[int]:
        """Give the legal actions, none once the game is over."""
        return [] if self._state.is_terminal() else list(self._state.legal_actions())

    def cells(self) -> bytes:
        """Give what OpenSpiel shows of the board to the player to move, one code per cell."""
        return self._board.read(self._state, self.player, self._last) if self._board else b""

    def notation(self, move_id: int) -> Notation:
        """Write the action as OpenSpiel does, or as its number if it is not legal."""
        legal = move_id in self.legal()
        return Notation(self._state.action_to_string(move_id) if legal else str(move_id))

    def copy(self) -> "OpenSpielPosition":
        """Give a position that can be played on without changing this one."""
        twin = copy(self)
        twin._state = self._state.clone()
        return twin


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
        shape = self._rules.observation_tensor_shape() if kind.provides_observation_tensor else []
        self._board = self._find_board(*shape) if len(shape) == 3 else None
        self.grid = self._board.grid if self._board else None
        self.move_cells = self._find_move_cells()

    def _find_board(self, planes: int, rows: int, columns: int) -> _Board:
        cells, bits = rows * columns, (1 << np.arange(planes)).astype(np.uint8)
        if planes > _MOST_PLANES_AS_BITS:
            return _Board(Grid(rows, columns, planes + 1), None)
        marks_last = len(self.vocabulary) in (cells, cells + 1)
        grid = Grid(rows, columns, 1 << planes + marks_last)
        order = _order_of_second(self._rules.new_initial_state(), planes, cells)
        return _Board(grid, (bits, bits[order]), marks_last)

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
        return OpenSpielPosition(self._rules.new_initial_state(), self._board)

    def describe(self) -> Mapping[str, Any]:
        """Give OpenSpiel's name of the game."""
        return {"name": self.name}
