"""The famous games are legal, and written as python-chess writes them."""

import chess
import pytest

from tests.soak.games import GAMES


@pytest.mark.parametrize("name", GAMES)
def test_a_famous_game_is_legal(name: str):
    board = chess.Board()
    for san in GAMES[name]:
        move = board.parse_san(san)
        assert board.san(move) == san
        board.push(move)
