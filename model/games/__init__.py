"""Reads a game's description and gives the game: its rules, its records, its notation."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.games.chess import Chess
from model.games.context import Field, Rating, TimeControl, encode_context
from model.games.game import Game, Grid, IllegalMove, Notation, Position
from model.games.openspiel import OpenSpielGame
from model.games.tokens import TokenGame
from model.games.xiangqi import Xiangqi

__all__ = [
    "Chess",
    "Field",
    "Game",
    "Grid",
    "IllegalMove",
    "Notation",
    "OpenSpielGame",
    "Position",
    "Rating",
    "TimeControl",
    "TokenGame",
    "Xiangqi",
    "encode_context",
    "load_game",
]


def load_game(description: Mapping[str, Any], vocabulary: Sequence[str] = ()) -> Game:
    """Make the game that ``Game.describe`` described; ``vocabulary`` is for games that take theirs from data.

    ValueError says which names there are.
    """
    name = description.get("name")
    if name == Chess.name:
        return Chess()
    if name == TokenGame.name:
        return TokenGame(vocabulary)
    if name == Xiangqi.name:
        return Xiangqi()
    return OpenSpielGame(str(name))
