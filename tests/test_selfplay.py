"""Games that bots play: by the rules, to the end, the same again for the same seed, and as strong as was asked for."""

import json
from collections import Counter
from pathlib import Path

import chess
import numpy as np
import pyspiel
import pytest

from model.dataset import Source, encode, pack
from model.games import load_game
from model.games.records import Record, read_records
from model.generators.selfplay import SelfPlay, nth_game, play_game, play_games
from model.generators.writing import check_name, write_games
from scripts import selfplay


def returns(name: str, moves: list[str]) -> list[float]:
    """Give what a finished game brought each player."""
    state = pyspiel.load_game(name).new_initial_state()
    for move in moves:
        state.apply_action(state.string_to_action(move))
    assert state.is_terminal()
    return state.returns()


@pytest.mark.parametrize("name", ["connect_four", "tic_tac_toe", "othello", "breakthrough", "xiangqi"])
def test_games_are_by_the_rules_and_to_the_end(name: str) -> None:
    game, moves = load_game({"name": name}), nth_game(SelfPlay(name, strengths=(0,)), 3)
    tokens, players, _, _ = encode(game, Record(1, moves))
    assert set(players) == {0, 1}
    position = game.new_position()
    for token in tokens:
        position.play(token)
    assert position.legal() == []


def test_a_game_of_chess_is_one_that_python_chess_ends_too() -> None:
    board = chess.Board()
    for move in nth_game(SelfPlay("chess", strengths=(0,)), 3):
        board.push_uci(move)
    assert board.is_game_over(claim_draw=True)


def test_a_game_is_the_same_however_many_processes_make_it_and_however_many_are_made() -> None:
    plan = SelfPlay("connect_four", strengths=(0, 4, 16), seed=5)
    games = list(play_games(plan, 20))
    assert list(play_games(plan, 20, workers=2)) == games
    assert list(play_games(plan, 7)) == games[:7]
    assert nth_game(plan, 11) == games[11]


def test_games_differ_from_one_another_and_from_those_of_another_seed() -> None:
    games = [" ".join(moves) for seed in (0, 1) for moves in play_games(SelfPlay("connect_four", (8,), seed=seed), 20)]
    assert len(set(games)) == 40


def test_more_simulations_win() -> None:
    game, rng = load_game({"name": "connect_four"}), np.random.default_rng(0)
    against_any_move = [returns("connect_four", play_game(game, (64, 0), 0, rng))[0] for _ in range(10)]
    against_fewer = [returns("connect_four", play_game(game, (4, 256), 0, rng))[1] for _ in range(10)]
    assert np.mean(against_any_move) > 0.7
    assert np.mean(against_fewer) > 0.7


def test_strong_players_draw_at_tic_tac_toe_unless_they_open_with_any_move() -> None:
    game, rng = load_game({"name": "tic_tac_toe"}), np.random.default_rng(0)
    best = [returns("tic_tac_toe", play_game(game, (2000, 2000), 0, rng))[0] for _ in range(8)]
    opened = [returns("tic_tac_toe", play_game(game, (2000, 2000), 4, rng))[0] for _ in range(20)]
    assert best == [0.0] * 8
    assert any(opened)


def test_every_player_s_strength_is_drawn_anew() -> None:
    outcomes = Counter(
        returns("connect_four", nth_game(SelfPlay("connect_four", (0, 200), 0), n))[0] for n in range(24)
    )
    assert outcomes[1.0] > 3  # the stronger moves first
    assert outcomes[-1.0] > 3


def test_the_command_writes_records_that_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "games.jsonl"
    words = ["--game", "tic_tac_toe", "--games", "12", "--simulations", "0,4", "--seed", "3", "--out", str(out)]
    selfplay.main(words)
    packed, report = pack(load_game({"name": "tic_tac_toe"}), [Source(out)])
    assert (report.games, report.skipped) == (12, 0)
    assert capsys.readouterr().out == f"12 games, {len(packed.tokens)} plies in {out}\n"
    assert [record.moves for record in read_records(out)] == list(
        play_games(SelfPlay("tic_tac_toe", (0, 4), seed=3), 12)
    )
    assert [path.name for path in out.parent.iterdir()] == ["games.jsonl"]


@pytest.mark.parametrize(
    ("game", "problem"),
    [
        ("bridge_of_fools", "no game is named 'bridge_of_fools'"),
        ("backgammon", "'backgammon' cannot be served: only two-player games in turns, without chance"),
        ("kuhn_poker", "all in sight"),
        ("matrix_rps", "in turns"),
        ("tokens", "'tokens' has no rules to play by"),
    ],
)
def test_a_game_that_cannot_be_learnt_is_refused_before_anything_is_written(
    tmp_path: Path, game: str, problem: str
) -> None:
    with pytest.raises(SystemExit, match=problem):
        selfplay.main(["--game", game, "--out", str(tmp_path / "games.jsonl")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--simulations", "16,many"], "'16,many' is not a list of whole numbers like 16,64,256"),
        (["--simulations", ""], "'' is not a list of whole numbers"),
        (["--games", "0"], "'0' is not a whole number from 1"),
        (["--opening", "-1"], "'-1' is not a whole number from 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        selfplay.main(["--game", "tic_tac_toe", "--out", "games.jsonl", *words])
    assert problem in capsys.readouterr().err


def test_records_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "games.jsonl"
    assert write_games(path, [["a", "b"], ["c"]], 2) == 3
    before = path.read_text()
    assert [json.loads(line) for line in before.splitlines()] == [{"moves": ["a", "b"]}, {"moves": ["c"]}]
    with pytest.raises(ZeroDivisionError):
        write_games(path, (["a"] * (1 // number) for number in (1, 0)), 2)
    assert path.read_text() == before


def test_records_of_another_kind_are_refused_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"games\.pgn: records are written as \.jsonl"):
        check_name(tmp_path / "games.pgn")
