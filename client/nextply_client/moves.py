"""Reads moves as people write them, PGN move text or a list, and gives a list of moves."""

import re
from collections.abc import Sequence

Moves = str | Sequence[str]
"""A list of moves, UCI or SAN, or one text that holds them, as in ``"1. e4 e5 2. Nf3"``."""

RESULTS = ("1-0", "0-1", "1/2-1/2", "*")

# Comments, brackets and words are kept; `;` comments, `$` glyphs, move numbers, dots and lone `!?` are passed over.
_TOKEN = re.compile(r"(\{[^}]*\}?)|;[^\n]*|([()])|\$\d+|\d+\s*\.+|\.+|,|[!?]+(?!\S)|([^\s(){};$,]+)")


def as_moves(moves: Moves) -> list[str]:
    """Give moves as the service takes them; a list is taken as it is, ValueError for a text that cannot be read."""
    return read_movetext(moves) if isinstance(moves, str) else list(moves)


def read_movetext(text: str) -> list[str]:
    """Give the moves of the main line, without numbers, comments, variations and the result.

    Words are separated by spaces or commas. Whole numbers are move numbers, unless nothing else is there: then they are
    the moves, as in connect four. ValueError if a comment or a variation has no end.
    """
    moves, depth = list[str](), 0
    for comment, bracket, word in _TOKEN.findall(text):
        if bracket:
            depth += 1 if bracket == "(" else -1
            if depth < 0:
                raise ValueError("a variation is closed that was not opened")
        elif comment and not comment.endswith("}"):
            raise ValueError("a comment is not closed")
        elif word and not depth and word not in RESULTS:
            moves.append(word.rstrip("!?"))
    if depth:
        raise ValueError("a variation is not closed")
    words = [move for move in moves if not move.isdecimal()]
    return words or moves


def write_movetext(moves: Sequence[str]) -> str:
    """Give moves with their numbers, as PGN has them."""
    return " ".join(f"{ply // 2 + 1}. {move}" if ply % 2 == 0 else move for ply, move in enumerate(moves))
