"""Reads xiangqi moves as coordinates or Chinese notation and gives ids, boards and legal moves, by OpenSpiel's rules.

Everything the network sees is from the side of the player to move: cell 0 is the corner at that player's right hand,
and files count from there, as Chinese notation counts them. So 炮二平五 of Red and 炮２平５ of Black are one id.
"""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import product
from typing import Any

import numpy as np
import pyspiel

from model.games.context import Field
from model.games.game import Cells, Grid, IllegalMove, Notation
from model.vocabulary import Vocabulary

FILES, RANKS = 9, 10
CELLS = FILES * RANKS

# Codes of a cell: soldier, cannon, chariot, horse, elephant, advisor, general, own and theirs, then what the opponent's
# last move left and which piece arrived. The letters are OpenSpiel's.
EMPTY, OWN, THEIRS, LEFT, ARRIVED = 0, 1, 8, 15, 16
PIECES = "SCRHEAG"
CODES = ARRIVED + len(PIECES)

_ADVISOR_CELLS = (3, 5, 13, 21, 23)
_ELEPHANT_CELLS = (2, 6, 18, 22, 26, 38, 42)


def _can_exist(source: int, destination: int) -> bool:
    """Say whether any piece of the player to move could go from one cell to the other."""
    ranks, files = abs(source // FILES - destination // FILES), abs(source % FILES - destination % FILES)
    if ranks == 0 or files == 0:
        return source != destination
    if ranks != files:
        return {ranks, files} == {1, 2}
    points = {1: _ADVISOR_CELLS, 2: _ELEPHANT_CELLS}.get(ranks, ())
    return source in points and destination in points


def _cell(index: int) -> str:
    """Write a cell as Red's coordinates: a0 is at Red's left hand."""
    return "ihgfedcba"[index % FILES] + str(index // FILES)


_MOVES = tuple(move for move in product(range(CELLS), repeat=2) if _can_exist(*move))
_ID = {move: index for index, move in enumerate(_MOVES)}
# OpenSpiel counts cells from Black's right hand, which is where Black counts from; Red sees them in the other order.
_ACTION = (
    tuple((CELLS - 1 - source) * CELLS + CELLS - 1 - destination for source, destination in _MOVES),
    tuple(source * CELLS + destination for source, destination in _MOVES),
)
_ID_OF_ACTION = tuple({action: index for index, action in enumerate(actions)} for actions in _ACTION)
_OF_RED = bytes.maketrans(b"." + PIECES.encode() + PIECES.lower().encode(), bytes(range(ARRIVED - 1)))
_OF_BLACK = bytes.maketrans(b"." + PIECES.lower().encode() + PIECES.encode(), bytes(range(ARRIVED - 1)))

_COORDINATES = re.compile(r"([a-i])([0-9])-?([a-i])([0-9])")
# Piece and file, or its place among its kind on one file; ahead, back or sideways; ranks gone, or the new file.
_CHINESE = re.compile(r"(?:([SCRHEAG])([1-9=+-])|([1-5=+-])([SCRHEAG]))([=+-])([1-9])")
_PLAIN = str.maketrans(
    "兵卒P炮砲包車车俥馬马傌N象相B士仕將帥将帅K一二三四五六七八九１２３４５６７８９進进前退後后平中.",
    "SSSCCCRRRHHHHEEEAAGGGGG123456789123456789+++---===",
)

_RULES = pyspiel.load_game("xiangqi")


class XiangqiPosition:
    """One running game of xiangqi. It ends by mate, by stalemate and at 500 plies; repetition does not end it."""

    def __init__(self) -> None:
        """Set up the pieces."""
        self._state = _RULES.new_initial_state()
        self.ply = 0
        self._last: tuple[int, int] | None = None
        self._cells: bytes | None = None

    @property
    def player(self) -> int:
        """0 when Red is to move, 1 when Black is."""
        return self.ply % 2

    def play(self, move_id: int) -> None:
        """Play a legal move."""
        self._state.apply_action(_ACTION[self.player][move_id])
        source, destination = _MOVES[move_id]
        self._last = CELLS - 1 - source, CELLS - 1 - destination
        self._cells = None
        self.ply += 1

    def legal(self) -> list[int]:
        """Give the ids of the legal moves."""
        ids = _ID_OF_ACTION[self.player]
        return [ids[action] for action in self._state.legal_actions()]

    def cells(self) -> bytes:
        """Give 90 codes, the player's own first rank first, each rank from the right."""
        if self._cells is None:
            board = str(self._state).replace("\n", "").encode()
            cells = bytearray(board.translate(_OF_BLACK) if self.player else board[::-1].translate(_OF_RED))
            if self._last is not None:
                left, arrived = self._last
                cells[left] = LEFT
                cells[arrived] += ARRIVED - THEIRS
            self._cells = bytes(cells)
        return self._cells

    def find(self, move: str) -> int:
        """Give the id of a move as coordinates (``h2e2``) or Chinese notation (``炮二平五``, ``前車進一``)."""
        legal = self.legal()
        if not legal:
            raise IllegalMove(f"{move[:20]!r} cannot be played: the game is over")
        if coordinates := _COORDINATES.fullmatch(move.lower()):
            index = self._from_coordinates(*coordinates.groups())
            matches = [index] if index in legal else []
        elif chinese := _CHINESE.fullmatch(move.translate(_PLAIN)):
            piece, place, order, ordered, direction, number = chinese.groups()
            matches = self._matching(legal, piece or ordered, place or "", order or "", direction + number)
        else:
            raise IllegalMove(f"{move[:20]!r} is neither coordinates (h2e2) nor Chinese notation (炮二平五)")
        if not matches:
            raise IllegalMove(f"{move!r} is not legal here")
        if len(matches) > 1:
            raise IllegalMove(f"{move!r} is ambiguous: {' or '.join(self._coordinates(index) for index in matches)}")
        return matches[0]

    def _from_coordinates(self, *parts: str) -> int | None:
        source, destination = ("ihgfedcba".index(file) + FILES * int(rank) for file, rank in (parts[:2], parts[2:]))
        if self.player:
            source, destination = CELLS - 1 - source, CELLS - 1 - destination
        return _ID.get((source, destination))

    def _matching(self, legal: list[int], piece: str, place: str, order: str, step: str) -> list[int]:
        """Give the moves of a piece that take ``step``, from file ``place`` or by the ``order`` of pieces on a file."""
        cells, code = self.cells(), OWN + PIECES.index(piece)
        matches = []
        for index in legal:
            source, destination = _MOVES[index]
            if cells[source] != code or _step(piece, source, destination) != step:
                continue
            if place.isdigit():
                fits = source % FILES + 1 == int(place)
            else:
                line = [cell for cell in range(source % FILES, CELLS, FILES) if cells[cell] == code]
                fits = (place or order) in _orders(line, source)
            if fits:
                matches.append(index)
        return matches

    def notation(self, move_id: int) -> Notation:
        """Write a move as coordinates."""
        return Notation(self._coordinates(move_id))

    def copy(self) -> "XiangqiPosition":
        """Give a position that can be played on without changing this one."""
        twin = copy(self)
        twin._state = self._state.clone()
        return twin

    def _coordinates(self, move_id: int) -> str:
        source, destination = _MOVES[move_id]
        if self.player:
            source, destination = CELLS - 1 - source, CELLS - 1 - destination
        return _cell(source) + _cell(destination)


def _step(piece: str, source: int, destination: int) -> str:
    """Write where a move goes: ranks gone by pieces that go straight, the new file of others and of moves sideways."""
    ranks, file = destination // FILES - source // FILES, destination % FILES + 1
    if ranks == 0:
        return f"={file}"
    return ("+" if ranks > 0 else "-") + str(file if piece in "HEA" else abs(ranks))


def _orders(line: list[int], source: int) -> set[str]:
    """Say how a piece is called among those of its kind on its file, which stand in ``line`` from the rear."""
    if len(line) < 2:
        return set()
    place = len(line) - line.index(source)
    names = {str(place)} | ({"+"} if place == 1 else set()) | ({"-"} if place == len(line) else set())
    return names | ({"="} if len(line) == 3 and place == 2 else set())


class Xiangqi:
    """Xiangqi: 2,062 moves and the board of the player to move."""

    name = "xiangqi"
    vocabulary = Vocabulary(tuple(_cell(source) + _cell(destination) for source, destination in _MOVES))
    context: tuple[Field, ...] = ()
    grid: Grid | None = Grid(rows=RANKS, columns=FILES, codes=CODES)
    move_cells: Cells | None = np.array(_MOVES, dtype=np.int32)
    seen_sizes = (2,)

    def seen(self, context: Sequence[int], player: int) -> list[int]:
        """Give the side: 0 Red, 1 Black."""
        return [player]

    def new_position(self) -> XiangqiPosition:
        """Give the starting position."""
        return XiangqiPosition()

    def describe(self) -> Mapping[str, Any]:
        """Give the name; xiangqi has nothing to configure."""
        return {"name": self.name}
