"""Reads chess moves as UCI or SAN and gives ids, boards and legal moves, by the rules of OpenSpiel.

Everything the network sees is from the side of the player to move, as if that player were White: black's e7e5 has the
same id as white's e2e4, and cell 0 is the player's own a-file corner. One pattern is so learnt once, not once a colour.
"""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import pyspiel

from model.games.context import Field, Rating, TimeControl
from model.games.game import Cells, Grid, IllegalMove, Notation
from model.vocabulary import Vocabulary

# Codes of a cell. Beyond the twelve pieces they say what a board alone does not show: who may still castle, where a
# pawn may be taken en passant, and what the opponent's last move left and reached.
EMPTY, OWN, THEIRS, OWN_CASTLING_ROOK, THEIR_CASTLING_ROOK, EN_PASSANT, LEFT, ARRIVED = 0, 1, 7, 13, 14, 15, 16, 17
CODES = ARRIVED + 6
PIECES = "PNBRQK"
PAWN, ROOK = OWN, OWN + PIECES.index("R")

_ACTIONS_A_CELL = 73
_CASTLE_LONG, _CASTLE_SHORT = 4672, 4673
_LINES = ((0, 1), (1, 0), (1, 1), (1, -1))
_STEPS = tuple(step for step in range(-7, 8) if step)
_KNIGHT = ((-2, -1), (-2, 1), (-1, -2), (-1, 2), (2, -1), (2, 1), (1, -2), (1, 2))


def _plane(plane: int) -> tuple[int, int, str]:
    """Give files and ranks gone and the piece of an under-promotion, for a plane of OpenSpiel's action code."""
    if plane < 9:
        return (0, 1, -1)[plane % 3], 1, "rbn"[plane // 3]
    if plane < 65:
        line, step = divmod(plane - 9, 14)
        return _LINES[line][0] * _STEPS[step], _LINES[line][1] * _STEPS[step], ""
    return *_KNIGHT[plane - 65], ""


def _moves() -> dict[int, tuple[int, int, str]]:
    """Give source cell, destination cell and under-promotion (or castling's name) of every action that can exist."""
    moves: dict[int, tuple[int, int, str]] = {}
    for action in range(64 * _ACTIONS_A_CELL):
        (file, rank), plane = divmod(action // _ACTIONS_A_CELL, 8), action % _ACTIONS_A_CELL
        files, ranks, promotion = _plane(plane)
        on_board = 0 <= file + files < 8 and 0 <= rank + ranks < 8
        if on_board and (not promotion or rank == 6):
            moves[action] = rank * 8 + file, (rank + ranks) * 8 + file + files, promotion
    return moves | {_CASTLE_LONG: (4, 2, "O-O-O"), _CASTLE_SHORT: (4, 6, "O-O")}


def _cell(index: int) -> str:
    return "abcdefgh"[index % 8] + "12345678"[index // 8]


def _index(cell: str) -> int:
    return "abcdefgh".index(cell[0]) + 8 * "12345678".index(cell[1])


_MOVES = _moves()
_ACTION = tuple(_MOVES)
_ID = {action: index for index, action in enumerate(_ACTION)}
_SOURCE, _DESTINATION, _KIND = zip(*_MOVES.values(), strict=True)
_NAMES = tuple(
    kind if kind.startswith("O") else _cell(source) + _cell(destination) + kind
    for source, destination, kind in _MOVES.values()
)

# UCI of each id for White and for Black, but for a queen's promotion, which the board tells.
_WRITTEN = tuple(
    tuple(
        _cell(source ^ flip) + _cell(destination ^ flip) + ("" if kind.startswith("O") else kind)
        for source, destination, kind in _MOVES.values()
    )
    for flip in (0, 56)
)

_UCI = re.compile(r"([a-h][1-8])([a-h][1-8])([qrbn]?)")
_SAN = re.compile(r"([KQRBN]?)([a-h]?)([1-8]?)[-x]?([a-h][1-8])(?:=?([QRBN]))?[+#]?[!?]{0,2}")
_CASTLING = re.compile(r"([O0]-[O0](?:-[O0])?)[+#]?[!?]{0,2}")
_RUNS = str.maketrans({str(run): "." * run for run in range(1, 9)} | {"/": ""})
_AS_WHITE = bytes.maketrans(b"." + PIECES.encode() + PIECES.lower().encode(), bytes(range(13)))
_AS_BLACK = bytes.maketrans(b"." + PIECES.lower().encode() + PIECES.encode(), bytes(range(13)))
_KIND_OF_OWN = {OWN + index: piece for index, piece in enumerate(PIECES)} | {OWN_CASTLING_ROOK: "R"}

_RULES = pyspiel.load_game("chess")


class ChessPosition:
    """One running game of chess."""

    def __init__(self) -> None:
        """Set up the pieces."""
        self._state = _RULES.new_initial_state()
        self.ply = 0
        self._last: tuple[int, int] | None = None
        self._cells: bytes | None = None
        self._legal: list[int] | None = None

    @property
    def player(self) -> int:
        """0 when White is to move, 1 when Black is."""
        return self.ply % 2

    def play(self, move_id: int) -> None:
        """Play a legal move. A third repetition or fifty quiet moves do not end a game that people go on with."""
        self._state.apply_action(_ACTION[move_id])
        if self._state.is_terminal():
            placement, turn, castling, passant, _, number = self._state.board().to_fen().split()
            resumed = _RULES.new_initial_state(f"{placement} {turn} {castling} {passant} 0 {number}")
            if not resumed.is_terminal():
                self._state = resumed
        self._last = _SOURCE[move_id] ^ 56, _DESTINATION[move_id] ^ 56
        self._cells = self._legal = None
        self.ply += 1

    def legal(self) -> list[int]:
        """Give the ids of the legal moves."""
        if self._legal is None:
            actions = [] if self._state.is_terminal() else self._state.legal_actions()
            self._legal = [_ID[action] for action in actions]
        return self._legal

    def cells(self) -> bytes:
        """Give 64 codes, the player's own first rank first."""
        if self._cells is None:
            self._cells = self._read_cells()
        return self._cells

    def _read_cells(self) -> bytes:
        placement, _, castling, passant, _ = self._state.board().to_fen().split(" ", 4)
        ranks = placement.translate(_RUNS).encode()
        if self.player == 0:
            ranks = b"".join(ranks[start : start + 8] for start in range(56, -1, -8)).translate(_AS_WHITE)
        else:
            ranks, castling = ranks.translate(_AS_BLACK), castling.swapcase()
        cells = bytearray(ranks)
        for right, corner in (("K", 7), ("Q", 0)):
            if right in castling:
                cells[corner] = OWN_CASTLING_ROOK
            if right.lower() in castling:
                cells[corner ^ 56] = THEIR_CASTLING_ROOK
        if passant != "-":
            cells[40 + "abcdefgh".index(passant[0])] = EN_PASSANT
        if self._last is not None:
            left, arrived = self._last
            cells[left] = LEFT
            cells[arrived] += ARRIVED - THEIRS
        return bytes(cells)

    def find(self, move: str) -> int:
        """Give the id of a move in UCI (``e7e8q``, castling as ``e1g1``) or SAN (``e8=Q+``, ``O-O``)."""
        legal = self.legal()
        if not legal:
            raise IllegalMove(f"{move[:20]!r} cannot be played: the game is over")
        if uci := _UCI.fullmatch(move):
            matches = self._matching_uci(legal, move, _index(uci[1]), _index(uci[2]))
        elif san := _SAN.fullmatch(move):
            matches = self._matching_san(legal, *san.groups(default=""))
        elif castling := _CASTLING.fullmatch(move):
            matches = [index for index in legal if _KIND[index] == castling[1].replace("0", "O")]
        else:
            raise IllegalMove(f"{move[:20]!r} is neither UCI (e2e4) nor SAN (e4, Nf3, O-O)")
        if not matches:
            raise IllegalMove(f"{move!r} is not legal here")
        if len(matches) > 1:
            raise IllegalMove(f"{move!r} is ambiguous: {' or '.join(self._uci(index) for index in matches)}")
        return matches[0]

    def _matching_uci(self, legal: list[int], move: str, source: int, destination: int) -> list[int]:
        flip = 56 * self.player
        source, destination = source ^ flip, destination ^ flip
        return [
            index
            for index in legal
            if _SOURCE[index] == source and _DESTINATION[index] == destination and self._uci(index) == move
        ]

    def _matching_san(self, legal: list[int], piece: str, file: str, rank: str, cell: str, promotion: str) -> list[int]:
        flip, cells = 56 * self.player, self.cells()
        destination = _index(cell) ^ flip
        matches = []
        for index in legal:
            if _DESTINATION[index] != destination or _KIND[index].startswith("O"):
                continue
            source = _SOURCE[index]
            origin, mover = _cell(source ^ flip), _KIND_OF_OWN[cells[source]]
            promotes = (_KIND[index] or "q") if mover == "P" and destination >= 56 else ""
            if mover == (piece or "P") and file in origin and rank in origin and promotes == promotion.lower():
                matches.append(index)
        return matches

    def notation(self, move_id: int) -> Notation:
        """Write a move as UCI, and as SAN if it is legal."""
        san = self._state.action_to_string(_ACTION[move_id]) if move_id in self.legal() else None
        return Notation(self._uci(move_id), san)

    def copy(self) -> "ChessPosition":
        """Give a position that can be played on without changing this one."""
        twin = copy(self)
        twin._state = self._state.clone()
        return twin

    def _uci(self, move_id: int) -> str:
        promotes = _DESTINATION[move_id] >= 56 and not _KIND[move_id] and self.cells()[_SOURCE[move_id]] == PAWN
        return _WRITTEN[self.player][move_id] + ("q" if promotes else "")


class Chess:
    """Chess: 1,860 moves, ratings and time control as context, the board of the player to move."""

    name = "chess"
    vocabulary = Vocabulary(_NAMES)
    context: tuple[Field, ...] = (Rating("white_elo"), Rating("black_elo"), TimeControl())
    grid: Grid | None = Grid(rows=8, columns=8, codes=CODES)
    move_cells: Cells | None = np.array([_SOURCE, _DESTINATION], dtype=np.int32).T
    seen_sizes = (*(field.size for field in context), 2)

    def seen(self, context: Sequence[int], player: int) -> list[int]:
        """Give own rating, the opponent's, the time control and the side (0 White, 1 Black)."""
        white, black, time_control = context
        return [black, white, time_control, 1] if player else [white, black, time_control, 0]

    def new_position(self) -> ChessPosition:
        """Give the starting position."""
        return ChessPosition()

    def describe(self) -> Mapping[str, Any]:
        """Give the name; chess has nothing to configure."""
        return {"name": self.name}
