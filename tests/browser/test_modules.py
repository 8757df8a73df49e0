"""The parts of the playground that only compute: how pieces move, and how pasted games are read."""

from collections.abc import Iterator
from typing import Any

import chess
import pytest

pytest.importorskip("playwright", reason="no browser is tested: pip install playwright")

from playwright.sync_api import Browser, Page

from model.games import load_game
from tests.serving import KASPAROV_TOPALOV, random_game

# Both take in passing and castle short.
_SPECIAL = "e4 a6 e5 d5 exd6 b5 Nf3 b4 c4 bxc3 Be2 Nf6 O-O e6 h3 Be7 h4 O-O"
SPECIAL = _SPECIAL.split()
POSITIONS = """async ([game, moves]) => {
  const rules = await import(`/playground/rules/${game}.js`)
  const boards = [rules.start()]
  moves.forEach((move, ply) => boards.push(rules.play(boards[ply], move, ply)))
  return boards.map(board => board.map(piece => piece || '.').join(''))
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, url: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(url)
    yield page
    page.close()


def chess_boards(moves: list[str]) -> tuple[list[str], list[str]]:
    """Give the moves as UCI, and each board from a1 on, as python-chess sees them."""
    board, written, boards = chess.Board(), [], []
    for move in [None, *moves]:
        if move is not None:
            written.append(board.push_san(move).uci())
        boards.append("".join(str(board.piece_at(square) or ".") for square in chess.SQUARES))
    return written, boards


@pytest.mark.parametrize("seed", [None, "special", *range(5)])
def test_chess_pieces_stand_where_the_moves_bring_them(page: Page, seed: int | str | None):
    if not isinstance(seed, int):
        san = SPECIAL if seed else KASPAROV_TOPALOV
    else:
        board, san = chess.Board(), []
        for move in random_game(load_game({"name": "chess"}), seed, 250):
            san.append(board.san(chess.Move.from_uci(move)))
            board.push_uci(move)
    moves, boards = chess_boards(san)
    assert page.evaluate(POSITIONS, ["chess", moves]) == boards


def test_a_promotion_is_among_the_moves_that_are_tested():
    games = (random_game(load_game({"name": "chess"}), seed, 250) for seed in range(5))
    assert any(len(move) == 5 for game in games for move in game)


def cells(game: str, state: Any) -> str:
    """Give a board of OpenSpiel from the upper left on."""
    text = str(state)
    if game == "othello":
        return "".join(line[2:17:2] for line in text.splitlines()[2:10]).replace("-", ".")
    return text.replace("\n", "")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("game", ["othello", "connect_four", "xiangqi"])
def test_pieces_of_other_games_stand_where_the_moves_bring_them(page: Page, game: str, seed: int):
    rules = load_game({"name": game})
    moves, position = random_game(rules, seed, 200), rules.new_position()
    boards = [cells(game, position._state)]
    for move in moves:
        position.play(position.find(move))
        boards.append(cells(game, position._state))
    assert page.evaluate(POSITIONS, [game, moves]) == boards


def test_a_pass_of_othello_is_among_those_that_are_tested():
    assert any("pass" in random_game(load_game({"name": "othello"}), seed, 200) for seed in range(3))


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("1. e4 e5 2. Nf3", ["e4", "e5", "Nf3"]),
        ("1.e4 e5 2.Nf3 Nc6 1/2-1/2", ["e4", "e5", "Nf3", "Nc6"]),
        ("e2e4 e7e5\ng1f3", ["e2e4", "e7e5", "g1f3"]),
        (
            "1. e4! {[%eval 0.2] } 1... e5?? $4 ; to the end\n2. Nf3 (2. Bc4 (2. d4 {x) y}) Nc6) Nc6 *",
            ["e4", "e5", "Nf3", "Nc6"],
        ),
        ('[White "A"]\n\n1. e4 1-0\n\n[White "B"]\n\n1. d4 *', ["e4"]),
        ('[Annotator "\\"[x]\\""]\n1. e4 {\n[White "C"]\n} e5', ["e4", "e5"]),
        ('["rock-paper", "paper-paper"]', ["rock-paper", "paper-paper"]),
        ("炮二平五 馬８進７", ["炮二平五", "馬８進７"]),
        ("1. e4 {never closed", ["e4"]),
        ("% a comment\n1. O-O-O 0-1", ["O-O-O"]),
        ("1. d4 ) e6", ["d4", "e6"]),
        ("", []),
    ],
)
def test_a_text_is_read_as_moves(page: Page, text: str, moves: list[str]):
    read = page.evaluate("async t => (await import('/playground/read.js')).readGame(t)", text)
    assert read["moves"] == moves


def test_headers_are_read_and_are_no_part_of_any_object(page: Page):
    text = '[White "Na\\"me"]\n[__proto__ "x"]\n[WhiteElo "1500"]\n\n1. e4'
    asked = """async text => {
      const {headers} = (await import('/playground/read.js')).readGame(text)
      return [headers.White, headers.WhiteElo, ({}).x, headers.toString]
    }"""
    assert page.evaluate(asked, text) == ['Na"me', "1500", None, None]
