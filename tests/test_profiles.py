"""Profiles of players: by hand, on moves drawn as predicted or not, and the script on a PGN."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.dataset import Packed, Report
from model.evaluation import Scores, score
from model.evaluation.profiles import fit_ratings, format_profiles, profile, rows_of_players
from model.evaluation.recorded import Recorded
from model.games import Chess, OpenSpielGame, TokenGame
from model.runner import Step
from scripts import profile as script
from tests.scoring import TOKENS, packed_of, play, step, write_table_model

CHESS = Chess()


def test_rows_go_to_the_names_of_who_moved():
    scores = score(
        TOKENS,
        packed_of([[0, 1, 2], [3, 4], [5]]),
        range(3),
        [step([0, 1, 2], 0, [[1] * 10] * 3), step([0, 1], 1, [[1] * 10] * 2), step([0], 2, [[1] * 10])],
    )
    rows = rows_of_players(scores, [("ann", "bob"), ("bob", ""), ("", "ann")])
    assert {
        name: list(zip(scores.game[own].tolist(), scores.ply[own].tolist(), strict=True)) for name, own in rows.items()
    } == {
        "ann": [(0, 0), (0, 2)],
        "bob": [(0, 1), (1, 0)],
    }


def test_a_profile_by_hand():
    game = OpenSpielGame("tic_tac_toe")
    weights = [[1] * 9, [1, 4, 1, 1, 1, 1, 1, 0.5, 0.5], [1] * 9]
    packed = packed_of([[0, 1, 2], [0, 2]])
    steps = [step([number], ply, [weights[ply]]) for number, ply in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))]
    scores = score(game, packed, [0, 1], steps)
    found = profile(scores, rows_of_players(scores, [("ann", "bob"), ("ann", "bob")])["bob"])
    # Eight moves are legal; bob plays the one of 4 / 10, then one of 1 / 10.
    p = np.array([4, 1, 1, 1, 1, 1, 0.5, 0.5]) / 10
    surprisal = -np.log(p)
    expected, variance = p @ surprisal, p @ surprisal**2 - (p @ surprisal) ** 2
    seen = -np.log([0.4, 0.1])
    assert (found["games"], found["plies"], found["top1"], found["top5"], found["rating"]) == (2, 2, 0.5, 1.0, None)
    assert found["expected_top1"] == pytest.approx(0.4, abs=1e-5)
    assert found["surprisal"] == pytest.approx(seen.mean(), abs=1e-5)
    assert found["expected"] == pytest.approx(expected, abs=1e-5)
    assert found["standard_error"] == pytest.approx((2 * variance) ** 0.5 / 2, abs=1e-5)
    assert found["z"] == pytest.approx((seen.sum() - 2 * expected) / (2 * variance) ** 0.5, abs=1e-4)
    assert [part["game"] for part in found["by_game"]] == [0, 1]
    assert found["by_game"][0]["surprisal"] == pytest.approx(seen[0], abs=1e-5)
    (early,) = found["by_ply"]
    assert (early["from"], early["to"], early["z"]) == (0, 10, found["z"])


def test_without_any_doubt_nothing_is_said_to_stand_out():
    scores = score(TokenGame("a"), packed_of([[0, 0]]), [0], [step([0], ply, [[1]]) for ply in (0, 1)])
    assert profile(scores, np.arange(2))["z"] == 0


def drawn(sharpness: float, seed: int) -> Scores:
    """Eight games of 50 plies whose moves are drawn from what is predicted, made sharper."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(50, 8, 10)).astype(np.float32)
    moves = (sharpness * logits + rng.gumbel(size=logits.shape)).argmax(2)
    steps = (Step(np.arange(8), ply, logits[ply], []) for ply in range(50))
    return score(TOKENS, packed_of(moves.T.tolist()), range(8), steps)


def test_z_is_normal_for_players_as_predicted_and_low_for_those_who_play_what_is_foreseen():
    honest = np.array([profile(drawn(1, seed), np.arange(400))["z"] for seed in range(60)])
    assert abs(honest.mean()) < 3 / 60**0.5
    assert 0.75 < honest.std() < 1.25
    assert profile(drawn(2, 0), np.arange(400))["z"] < -5
    assert profile(drawn(0.3, 0), np.arange(400))["z"] > 5


def walk(packed: Packed, games: np.ndarray) -> Iterator[Step]:
    """A model that foresees a move the better, the nearer the mover's rating is to 1500 in White's games, else 2000."""
    best = np.array([CHESS.context[0].encode(points) for points in (1500, 2000)])
    for ply in range(2):
        logits = np.zeros((len(games), len(CHESS.vocabulary)), np.float32)
        off = abs(packed.context[games, ply].astype(int) - best[ply])
        logits[np.arange(len(games)), packed.tokens[packed.offsets[games] + ply]] = -0.2 * off
        yield Step(games, ply, logits, [])


@pytest.mark.parametrize("games", [2, 40])
def test_the_rating_that_fits_best_and_its_interval(games: int):
    packed = packed_of([play(CHESS, ["e4", "e5"])] * games, [[9, 9, 0]] * games)
    recorded = Recorded(packed, np.arange(games), [("ann", "bob")] * games, [], Report(), {})
    scores = score(CHESS, packed, range(games), walk(packed, np.arange(games)))
    fits = fit_ratings(CHESS, recorded, rows_of_players(scores, recorded.players), walk)
    # 19 other moves score 0, so a bucket that is off by n costs ln(1 + 19 exp(0.2 n)) − ln 20 a move.
    cost = games * (np.log(1 + 19 * np.exp(0.2 * np.arange(24))) - np.log(20))
    within = int((2 * cost < 3.841).sum()) - 1
    for name, best in (("ann", 1500), ("bob", 2000)):
        fit = fits[name]
        assert (fit["best"], fit["low"], fit["high"]) == (best, best - 100 * within, best + 100 * within)
        assert fit["nll"][best] == pytest.approx(np.log(20), abs=1e-5)
        assert fit["nll"][best + 300] == pytest.approx(np.log(20) + cost[3] / games, abs=1e-5)
        assert len(fit["nll"]) == 24


def test_games_without_ratings_fit_none():
    packed = packed_of([[1, 2]])
    recorded = Recorded(packed, np.arange(1), [("ann", "bob")], [], Report(), {})
    assert fit_ratings(TOKENS, recorded, {"ann": np.array([0])}, walk) == {}


def test_the_table_begins_with_the_least_surprising():
    rows = {name: np.arange(400) for name in ("plain|ann", "bob")}
    profiles = {name: profile(drawn(sharpness, 1), rows[name]) for name, sharpness in zip(rows, (1, 2), strict=True)}
    *_, first, second = format_profiles(profiles).splitlines()
    assert first.startswith("| bob | 8 | 400 | ")
    assert second.startswith("| plain\\|ann | 8 | 400 | ")


PGN = """
[White "ann"]
[Black "bob"]
[WhiteElo "1500"]
[BlackElo "1620"]

1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 1-0

[White "?"]
[Black "ann"]

1. d4 d5 2. c4 c6 0-1

[White "eve"]
[Black "ian"]

1. d4 d5 1/2-1/2
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_table_model(tmp_path / "even" / "1", CHESS, np.zeros((1861, 1860), np.float32))


@pytest.fixture
def games(tmp_path: Path) -> Path:
    path = tmp_path / "games.pgn"
    path.write_text(PGN)
    return path


def test_the_script_profiles_the_players_of_a_pgn(model: Path, games: Path, tmp_path: Path, capsys):
    out, table, plots = tmp_path / "profiles.json", tmp_path / "profiles.md", tmp_path / "plots"
    words = [
        "--model",
        model,
        "--games",
        games,
        "--player",
        "ann",
        "bob",
        "--json",
        out,
        "--table",
        table,
        "--plots",
        plots,
    ]
    script.main([str(word) for word in words])
    profiles = json.loads(out.read_text())
    assert {name: (found["games"], found["plies"], found["rating"]) for name, found in profiles.items()} == {
        "ann": (2, 5, 1500),
        "bob": (1, 3, 1600),
    }
    # Where every legal move is as likely, no rating fits better than another.
    assert (profiles["bob"]["fit"]["low"], profiles["bob"]["fit"]["high"]) == (600, 2900)
    assert profiles["bob"]["surprisal"] == profiles["bob"]["expected"]
    assert sorted(path.name for path in plots.iterdir()) == ["ann.png", "bob.png"]
    assert table.read_text() == capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (PGN, ["--player", "zoe"], "'zoe' plays in none of these games"),
        ("1. e4 e5 *\n", [], "no game names its players"),
        ("", [], "no games from the first to the last"),
        (PGN, ["--since", "soon"], "not a day like"),
        (PGN, ["--games", "nowhere.pgn"], "nowhere.pgn is not a file"),
    ],
)
def test_the_script_says_what_is_wrong(text: str, words: list[str], message: str, model: Path, games: Path, capsys):
    games.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        script.main(["--model", str(model), "--games", str(games), *words])
    assert message in f"{stopped.value} {capsys.readouterr().err}"
