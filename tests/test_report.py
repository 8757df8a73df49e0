"""The page that scripts.report writes: whose moves it tells, what it shows of them, and that it is safe to open."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from model.evaluation.boards import draw_board
from model.evaluation.page import SURPRISE
from model.games import Chess, Game, OpenSpielGame, TokenGame, Xiangqi
from scripts import report
from tests.scoring import letter_after_letter, play, write_table_model

CHESS = Chess()
HOSTILE = "<script>alert(1)</script>"
PGN = f"""
[White "{HOSTILE}"]
[Black "ann & bob"]
[WhiteElo "1500"]
[BlackElo "1620"]

1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Qe2 h5 1-0

[White "ann & bob"]
[Black "?"]

1. d4 d5 2. Bh6 {{ {HOSTILE} }} *
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that holds 4. Qe2 and 2. Bh6 for impossible, and every other move for as likely as the next."""
    table = np.zeros((1861, 1860), np.float32)
    table[:, play(CHESS, ["e4", "e5", "Qe2"])[-1]] = -9
    table[:, play(CHESS, ["d4", "d5", "Bh6"])[-1]] = -8
    return write_table_model(tmp_path / "models" / "even" / "1", CHESS, table).parent


def write(folder: Path, model: Path, text: str = PGN, *words: str) -> str:
    games = folder / "my.games.pgn"
    games.write_text(text)
    report.main([str(games), "--model", str(model), *words])
    return (folder / "my.html").read_text(encoding="utf-8")


def test_the_page_tells_of_players_games_and_surprises(model: Path, tmp_path: Path) -> None:
    page = write(tmp_path, model, PGN, "--surprises", "2")
    assert "even/1 read 11 moves of 2 games" in page
    first, second = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert first.startswith("<b>4. Qe2</b>")
    assert second.startswith("<b>2. Bh6</b>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; – ann &amp; bob" in first
    assert "ann &amp; bob – ?" in second
    assert page.count('<svg class="board"') == page.count('<svg class="curve"') == 2
    assert re.findall(r"\d\. <b>(\w+)</b>", page) == ["Qe2", "Bh6"]
    assert page.count('alt="Surprisal of') == 2
    assert "1600" in page


def test_the_page_needs_nothing_else_and_runs_nothing(model: Path, tmp_path: Path) -> None:
    page = write(tmp_path, model)
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([a-z]+):', page)) == {"data"}
    assert not re.search(r"url\(|@import|\bon\w+=", page)
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_a_bar_is_as_high_as_its_move_surprises(model: Path, tmp_path: Path) -> None:
    page = write(tmp_path, model)
    curve = ElementTree.fromstring(re.findall(r'<svg class="curve".*?</svg>', page, re.DOTALL)[0])
    bars = [(bar.get("class"), float(bar.get("height") or 0), bar[0].text or "") for bar in curve.iter("rect")]
    assert [kind for kind, *_ in bars] == ["bar0", "bar1"] * 3 + ["bar0 high", "bar1"]
    nats = [float(re.findall(r"([\d.]+) nats", text)[0]) for *_, text in bars]
    assert nats[0] == pytest.approx(np.log(20), abs=0.05)
    assert nats[6] == max(nats) > SURPRISE
    for _, height, text in bars:
        assert height / bars[6][1] == pytest.approx(float(re.findall(r"([\d.]+) nats", text)[0]) / nats[6], abs=0.02)


def pieces(game: Game, moves: list[str]) -> dict[tuple[int, int], str]:
    """Give who stands where on the picture, by column and row from the upper left corner, after some moves."""
    position = game.new_position()
    for move in play(game, moves):
        position.play(move)
    drawing = draw_board(game, position.cells(), position.player, [])
    assert drawing is not None
    texts = ElementTree.fromstring(drawing).iter("text")
    return {
        (int(float(text.get("x", "")) // 44), int(float(text.get("y", "")) // 44)): f"{text.get('class')} {text.text}"
        for text in texts
    }


@pytest.mark.parametrize(
    ("game", "moves", "places"),
    [
        (CHESS, [], {(3, 7): "side0 ♛", (4, 0): "side1 ♚", (0, 6): "side0 ♟"}),
        (CHESS, ["e4"], {(3, 7): "side0 ♛", (4, 0): "side1 ♚", (4, 4): "side0 ♟"}),
        (CHESS, ["e4", "d5", "exd5"], {(3, 3): "side0 ♟", (0, 0): "side1 ♜", (7, 7): "side0 ♜"}),
        (Xiangqi(), [], {(4, 9): "side0 帥", (1, 7): "side0 炮", (7, 2): "side1 炮"}),
        (Xiangqi(), ["h2e2"], {(4, 7): "side0 炮", (1, 7): "side0 炮", (4, 0): "side1 帥"}),
        (OpenSpielGame("othello"), [], {(3, 3): "side1 ●", (4, 3): "side0 ●"}),
        (OpenSpielGame("othello"), ["d3"], {(3, 2): "side0 ●", (3, 3): "side0 ●", (4, 4): "side1 ●"}),
        (OpenSpielGame("connect_four"), ["x0", "o0"], {(0, 5): "side0 ●", (0, 4): "side1 ●"}),
    ],
    ids=lambda value: value.name if not isinstance(value, list | dict) else None,
)
def test_a_board_is_drawn_as_the_first_player_sees_it(
    game: Game, moves: list[str], places: dict[tuple[int, int], str]
) -> None:
    found = pieces(game, moves)
    assert {place: found.get(place) for place in places} == places


def test_moves_are_marked_where_they_go() -> None:
    position, (move,) = CHESS.new_position(), play(CHESS, ["e4"])
    drawing = ElementTree.fromstring(draw_board(CHESS, position.cells(), 0, [(move, "played")]) or "")
    (arrow,) = drawing.iter("line")
    assert [float(arrow.get(name, "")) // 44 for name in ("x1", "y1", "x2", "y2")] == [4, 6, 4, 4]
    assert arrow.get("class") == "played"


def test_a_game_without_board_or_players_has_a_page_too(tmp_path: Path) -> None:
    model = write_table_model(tmp_path / "letters" / "1", TokenGame("abcdefghij"), letter_after_letter())
    games = tmp_path / "games.jsonl"
    games.write_text('["a", "b", "c"]\n["a", "b", "j"]\n')
    report.main([str(games), "--model", str(model), "--surprises", "1", "--title", "Letters"])
    page = (tmp_path / "games.html").read_text(encoding="utf-8")
    assert "<h1>Letters</h1>" in page
    assert "<h2>Players</h2>" not in page
    assert "<b>2. j</b>" in page
    assert '<svg class="board"' not in page


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("", [], "no games from the first to the last"),
        (PGN, ["--model", "nowhere"], "nowhere"),
        (PGN, ["--limit", "0"], "'0' is not a whole number from 1"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: list[str], message: str, model: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        write(tmp_path, model, text, *words)
    assert message in f"{stopped.value} {capsys.readouterr().err}"
