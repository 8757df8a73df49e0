"""Reads WTHOR, the base of the French Othello federation (``.wtb``), and gives records with their passes written out.

A file is a header (day it was made, number of games, year, size of the board) and 68 bytes a game: tournament, Black,
White, Black's discs, the discs Black could have had, 60 moves as 10 × row + column, 0 for none. All are little-endian.
"""

from collections.abc import Iterator
from io import BufferedReader
from struct import Struct

from model.games.openspiel import OpenSpielGame
from model.games.records.record import BadRecord, Record

_HEADER = Struct("<4xI2xH2B2x")
_GAME = Struct("<6xBx60s")
_OTHELLO = OpenSpielGame("othello")
_CELLS = 64
_PASS = 64
_HALF = 32


def read_wthor(file: BufferedReader) -> Iterator[Record]:
    """Give the games, dated by their year; ValueError if the file is cut off or no base of games on 8 × 8 boards."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise ValueError("a WTHOR file begins with a header of 16 bytes; this one is shorter")
    games, year, size, puzzles = _HEADER.unpack(header)
    if size not in (0, 8) or puzzles:
        raise ValueError("this WTHOR file does not hold games on boards of 8 × 8")
    for number in range(1, games + 1):
        content = file.read(_GAME.size)
        if len(content) < _GAME.size:
            raise ValueError(f"this WTHOR file is cut off: it ends in game {number} of {games}")
        yield _read_game(number, f"{year:04}-01-01", *_GAME.unpack(content))


def _read_game(number: int, date: str, discs: int, squares: bytes) -> Record:
    try:
        cells = [_cell(square) for square in squares.rstrip(b"\0")]
    except BadRecord as problem:
        return Record(number, [], date=date, problem=str(problem))
    result = "1-0" if discs > _HALF else "0-1" if discs < _HALF else "1/2-1/2"
    return Record(number, _with_passes(cells), result=result, date=date)


def _cell(square: int) -> int:
    row, column = divmod(square, 10)
    if not (1 <= row <= 8 and 1 <= column <= 8):
        raise BadRecord(f"its move {square} is no square: squares are 11 to 88, row and column")
    return (row - 1) * 8 + column - 1


def _with_passes(cells: list[int]) -> list[str]:
    """Write the moves, with a pass where nothing else is legal; a move that is not legal stays for others to refuse."""
    position, moves = _OTHELLO.new_position(), list[str]()
    playable = True
    for cell in cells:
        legal = position.legal() if playable else []
        if legal == [_PASS]:
            moves.append("pass")
            position.play(_PASS)
            legal = position.legal()
        playable = cell in legal
        if playable:
            position.play(cell)
        moves.append("abcdefgh"[cell % 8] + "12345678"[cell // 8])
    return moves
