"""Reads a board as the network sees it and gives a picture of it as SVG, with moves as arrows or rings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from model.games import Game, chess, xiangqi

_SIDE = 44
_CHESS, _XIANGQI = "♟♞♝♜♛♚", "兵炮俥馬相仕帥"


@dataclass(frozen=True)
class _Look:
    """What codes of cells look like, and from where cells are counted: the lower left, if nothing is turned around.

    turned: rows and columns as the first player sees them;  second: what is turned once more for the second player
    """

    own: Mapping[int, str]
    theirs: Mapping[int, str]
    turned: tuple[bool, bool] = (False, False)
    second: tuple[bool, bool] = (False, False)


_LOOKS = {
    "chess": _Look(
        dict(enumerate(_CHESS, chess.OWN)) | {chess.OWN_CASTLING_ROOK: "♜"},
        dict(enumerate(_CHESS, chess.THEIRS))
        | dict(enumerate(_CHESS, chess.ARRIVED))
        | {chess.THEIR_CASTLING_ROOK: "♜"},
        second=(True, False),
    ),
    "xiangqi": _Look(
        dict(enumerate(_XIANGQI, xiangqi.OWN)),
        dict(enumerate(_XIANGQI, xiangqi.THEIRS)) | dict(enumerate(_XIANGQI, xiangqi.ARRIVED)),
        turned=(False, True),
        second=(True, True),
    ),
    # Bits: empty, own, theirs, and where the last move went; of connect four there is no such cell.
    "othello": _Look({2: "●"}, {4: "●", 12: "●"}, turned=(True, False)),
    "connect_four": _Look({1: "●"}, {2: "●"}),
}


def draw_board(game: Game, cells: bytes, player: int, moves: Sequence[tuple[int, str]]) -> Markup | None:
    """Give a board with ``moves``, each an id and the class of its mark; None if it is not known how it looks.

    cells: codes as ``player``, who is to move, sees them (`Position.cells`); who moves first sits below
    """
    look, grid = _LOOKS.get(game.name), game.grid
    if look is None or grid is None:
        return None
    rows, columns = (one ^ (other and player == 1) for one, other in zip(look.turned, look.second, strict=True))
    places = []
    for cell in range(grid.cells):
        row, column = divmod(cell, grid.columns)
        places.append((_SIDE * _turn(column, grid.columns, columns), _SIDE * _turn(row, grid.rows, not rows)))
    parts = [*_draw_cells(places), *_draw_pieces(look, cells, player, places)]
    for move, kind in moves:
        parts += _draw_move(game, move, kind, places)
    width, height = _SIDE * grid.columns, _SIDE * grid.rows
    return Markup('<svg class="board" viewBox="0 0 {} {}" role="img">').format(width, height) + Markup(
        "".join(parts) + "</svg>"
    )


def _turn(place: int, places: int, turned: bool) -> int:
    return places - 1 - place if turned else place


def _draw_cells(places: Sequence[tuple[int, int]]) -> Iterator[str]:
    for x, y in places:
        shade = "dark" if (x + y) // _SIDE % 2 else "light"
        yield f'<rect class="{shade}" x="{x}" y="{y}" width="{_SIDE}" height="{_SIDE}"/>'


def _draw_pieces(look: _Look, cells: bytes, player: int, places: Sequence[tuple[int, int]]) -> Iterator[str]:
    for code, (x, y) in zip(cells, places, strict=True):
        for side, glyphs in ((player, look.own), (1 - player, look.theirs)):
            if code in glyphs:
                yield f'<text class="side{side}" x="{x + _SIDE / 2}" y="{y + 0.76 * _SIDE}">{glyphs[code]}</text>'


def _draw_move(game: Game, move: int, kind: str, places: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Draw an arrow from source to destination, or a ring where a move is one cell."""
    if game.move_cells is None:
        return
    source, destination = game.move_cells[move].tolist()
    if destination < 0:
        return
    x, y = (place + _SIDE / 2 for place in places[destination])
    if source < 0:
        yield f'<circle class="{kind}" cx="{x}" cy="{y}" r="{0.4 * _SIDE}"/>'
        return
    left, above = (place + _SIDE / 2 for place in places[source])
    yield f'<line class="{kind}" x1="{left}" y1="{above}" x2="{x}" y2="{y}"/>'
    yield f'<circle class="{kind} end" cx="{x}" cy="{y}" r="6"/>'
