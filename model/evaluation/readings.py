"""Reads scored games and gives what people read of them: every move as it is written, and how surprising it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from model.dataset import Packed
from model.evaluation.boards import draw_board
from model.evaluation.scores import Scores
from model.games import Game, Notation, Position


@dataclass(frozen=True)
class Reading:
    """One move that was played.

    number: as games count moves, "12." of who moves first and "12…" of the other; the plies, without players
    move: the move played, and ``likeliest`` the one that stood first
    surprisal: −ln p of the move played, in nats;  p, likeliest_p: probabilities
    """

    ply: int
    player: int
    number: str
    move: str
    likeliest: str
    surprisal: float
    p: float
    likeliest_p: float


@dataclass(frozen=True)
class Surprise:
    """A move that hardly anybody expected: in which game, and the board before it, if that can be drawn."""

    reading: Reading
    game: int
    board: Markup | None


def read_game(game: Game, packed: Packed, scores: Scores, number: int) -> list[Reading]:
    """Give the moves of a game, which goes by its number among those packed."""
    rows = np.flatnonzero(scores.game == number)
    position = game.new_position()
    readings = []
    for row, move in zip(rows.tolist(), _moves(packed, number), strict=True):
        readings.append(_read(scores, row, position, move))
        position.play(move)
    return readings


def most_surprising(game: Game, packed: Packed, scores: Scores, count: int) -> list[Surprise]:
    """Give the ``count`` most surprising moves of all games, the most surprising first."""
    rows = np.argsort(-scores.legal_nll, kind="stable")[:count]
    return [_surprise(game, packed, scores, row) for row in rows.tolist()]


def _surprise(game: Game, packed: Packed, scores: Scores, row: int) -> Surprise:
    number, ply = int(scores.game[row]), int(scores.ply[row])
    moves, position = _moves(packed, number), game.new_position()
    for move in moves[:ply]:
        position.play(move)
    reading = _read(scores, row, position, moves[ply])
    marks = [(int(scores.first[row]), "likeliest"), (moves[ply], "played")]
    return Surprise(reading, number, draw_board(game, position.cells(), position.player, marks))


def _moves(packed: Packed, number: int) -> list[int]:
    moves: list[int] = packed.tokens[packed.offsets[number] : packed.offsets[number + 1]].tolist()
    return moves


def _read(scores: Scores, row: int, position: Position, move: int) -> Reading:
    ply, surprisal = int(scores.ply[row]), float(scores.legal_nll[row])
    return Reading(
        ply=ply,
        player=position.player,
        number=f"{ply // 2 + 1}{'…' if ply % 2 else '.'}",
        move=_written(position.notation(move)),
        likeliest=_written(position.notation(int(scores.first[row]))),
        surprisal=surprisal,
        p=float(np.exp(-surprisal)),
        likeliest_p=float(scores.first_p[row]),
    )


def _written(notation: Notation) -> str:
    return notation.san or notation.move


def draw_curve(readings: Sequence[Reading], above: float) -> Markup:
    """Draw the surprisal of every move as a bar, in SVG, and name those with more than ``above`` nats."""
    height, step = 120, max(4.0, min(12.0, 900 / max(1, len(readings))))
    most = max([above, *(reading.surprisal for reading in readings)])
    scale = (height - 16) / most
    parts = [
        Markup('<svg class="curve" viewBox="0 0 {} {}" role="img">').format(round(step * len(readings) + 8), height),
        Markup('<line class="grid" x1="0" x2="{}" y1="{y}" y2="{y}"/>').format(
            round(step * len(readings) + 8), y=round(height - above * scale, 1)
        ),
    ]
    for reading in readings:
        tall = round(reading.surprisal * scale, 1)
        parts.append(
            Markup('<rect class="bar{}{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                reading.player,
                " high" if reading.surprisal > above else "",
                round(reading.ply * step + 4, 1),
                round(height - tall, 1),
                round(step * 0.8, 1),
                tall,
                f"{reading.number} {reading.move}: {100 * reading.p:.1f} %, {reading.surprisal:.1f} nats; "
                f"likeliest was {reading.likeliest}, {100 * reading.likeliest_p:.0f} %",
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])
