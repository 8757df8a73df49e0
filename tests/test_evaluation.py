"""Figures that can be worked out by hand, the baseline's probabilities, and the script on a model of one table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.dataset import Packed, Source, describe_sources, pack, save_description
from model.evaluation import Scores, bootstrap, score, summarise
from model.evaluation.figures import curves, format_figures
from model.evaluation.recorded import load_packed, read_games
from model.evaluation.report import more_groups
from model.games import Chess, Game, OpenSpielGame, TokenGame
from model.ngram import NGram
from model.runner import Step
from scripts import evaluate
from tests.scoring import TOKENS, certain, letter_after_letter, packed_of, play, step, write_table_model


def test_without_rules_raw_and_legal_are_the_same():
    packed = packed_of([[0, 6]])
    weights = [[8, 4, 2, 1, 1, 1, 1, 1, 1, 1], [9, 8, 7, 6, 5, 1, 4, 1, 1, 1]]
    scores = score(TOKENS, packed, [0], [step([0], ply, [weights[ply]]) for ply in (0, 1)])
    assert scores.raw_rank.tolist() == scores.legal_rank.tolist() == [0, 5]
    assert scores.raw_nll == pytest.approx([math.log(21 / 8), math.log(43 / 4)], abs=1e-5)
    overall = summarise(scores)["all"]
    assert (overall["games"], overall["plies"]) == (1, 2)
    assert overall["top1_raw"] == overall["top1_legal"] == overall["top5_raw"] == overall["top5_legal"] == 0.5
    assert overall["nll_legal"] == overall["nll_raw"]
    assert overall["legal_rate"] == overall["legal_mass"] == 1
    assert not any(name.startswith("mover") for name in summarise(scores))


def test_of_equal_scores_the_lower_id_stands_first():
    packed = packed_of([[4], [5]])
    scores = score(TOKENS, packed, [0, 1], [step([0, 1], 0, [[1] * 10] * 2)])
    assert scores.raw_rank.tolist() == [4, 5]


def test_legal_figures_leave_out_what_the_rules_forbid():
    game = OpenSpielGame("tic_tac_toe")
    packed = packed_of([[0, 4]])
    weights = [[1] * 9, [8, 1, 1, 1, 4, 1, 1, 1, 1]]
    scores = score(game, packed, [0], [step([0], ply, [weights[ply]]) for ply in (0, 1)])
    assert scores.raw_rank.tolist() == [0, 1]
    assert scores.legal_rank.tolist() == [0, 0]
    assert scores.raw_nll == pytest.approx([math.log(9), math.log(19 / 4)], abs=1e-5)
    assert scores.legal_nll == pytest.approx([math.log(9), math.log(11 / 4)], abs=1e-5)
    assert scores.legal_top.tolist() == [True, False]
    assert scores.legal_mass == pytest.approx([1, 11 / 19], abs=1e-5)


def test_what_the_model_expects_of_a_move():
    game = OpenSpielGame("tic_tac_toe")
    weights = [[1] * 9, [1, 1, 2, 4, 1, 0.5, 0.25, 0.125, 0.125]]
    scores = score(game, packed_of([[0, 4]]), [0], [step([0], ply, [weights[ply]]) for ply in (0, 1)])
    p = np.array(weights[1][1:]) / 9
    surprisal = -np.log(p)
    assert scores.player.tolist() == [0, 1]
    assert scores.first.tolist() == [0, 3]
    assert scores.first_p == pytest.approx([1 / 9, 4 / 9], abs=1e-6)
    assert scores.entropy == pytest.approx([math.log(9), p @ surprisal], abs=1e-5)
    assert scores.variance == pytest.approx([0, p @ surprisal**2 - (p @ surprisal) ** 2], abs=1e-5)
    assert scores.bin_moves.sum(1).tolist() == [9, 8]
    assert scores.bin_mass.sum(1) == pytest.approx([1, 1])


def test_curves_are_of_five_plies_and_two_hundred_points():
    game = Chess()
    moves = play(game, ["e4", "e5", "Nf3", "Nc6", "Bb5", "a6"])
    encode = game.context[0].encode
    packed = packed_of([moves, moves], [[encode(1399), encode(1400), 0], [0, encode(1510), 0]])
    right = [[True] * 6, [False] * 6]
    found = curves(score(game, packed, range(2), certain(packed, 1860, right)))
    by_ply = [(group["from"], group["to"], group["plies"], group["top1_legal"]) for group in found["by_ply"]]
    by_rating = [(group["from"], group["to"], group["plies"], group["top1_legal"]) for group in found["by_rating"]]
    assert by_ply == [(0, 5, 10, 0.5), (5, 10, 2, 0.5)]
    assert by_rating == [(1200, 1400, 3, 1.0), (1400, 1600, 6, 0.5)]
    assert "by_rating" not in curves(
        score(game, replace(packed, context=packed.context * 0), [0], certain(packed, 1860, right[:1]))
    )


def test_bands_of_plies():
    right = [[10 <= ply < 30 or ply == 60 for ply in range(62)]]
    packed = packed_of([[ply % 10 for ply in range(62)]])
    summary = summarise(score(TOKENS, packed, [0], certain(packed, 10, right)))
    found = {name: (figures["plies"], figures["top1_raw"]) for name, figures in summary.items()}
    assert found == {
        "all": (62, round(21 / 62, 5)),
        "plies 10 and later": (52, round(21 / 52, 5)),
        "plies 0-9": (10, 0.0),
        "plies 10-29": (20, 1.0),
        "plies 30-59": (30, 0.0),
        "plies 60+": (2, 0.5),
    }


def test_bands_are_those_of_the_mover_s_rating():
    game = Chess()
    moves = play(game, ["e4", "e5", "Nf3"])
    ratings = [(1199, 1200), (1599, 1600), (1999, 2000), (None, 300)]
    encode = game.context[0].encode
    context = [[0 if points is None else encode(points) for points in pair] + [0] for pair in ratings]
    packed = packed_of([moves] * 4, context)
    summary = summarise(score(game, packed, range(4), certain(packed, 1860, [[True, False, True]] * 4)))
    found = {name: (f["plies"], f["top1_raw"]) for name, f in summary.items() if name.startswith("mover")}
    assert found == {
        "mover unknown": (2, 1.0),
        "mover under 1200": (3, round(2 / 3, 5)),
        "mover 1200-1599": (3, round(2 / 3, 5)),
        "mover 1600-1999": (3, round(2 / 3, 5)),
        "mover 2000 and over": (1, 0.0),
    }


def random_games(count: int, seed: int = 0) -> tuple[Packed, list[Step]]:
    rng = np.random.default_rng(seed)
    packed = packed_of([rng.integers(10, size=rng.integers(1, 40)).tolist() for _ in range(count)])
    right = [(rng.random(length) < 0.3).tolist() for length in packed.lengths]
    return packed, certain(packed, 10, right)


@pytest.mark.parametrize("game", [TOKENS, OpenSpielGame("tic_tac_toe")])
def test_the_order_of_steps_is_no_matter(game: Game):
    packed = random_games(30)[0] if game is TOKENS else packed_of([[0, 4, 8], [1, 2], [5, 3, 4, 7]])
    rng = np.random.default_rng(1)
    moves = len(game.vocabulary)
    steps = [
        step([number], ply, [rng.random(moves).tolist()])
        for number, length in enumerate(packed.lengths)
        for ply in range(length)
    ]
    in_order = score(game, packed, range(len(packed)), steps)
    shuffled = score(game, packed, range(len(packed)), [steps[index] for index in rng.permutation(len(steps))])
    for name in Scores.__dataclass_fields__:
        assert np.array_equal(getattr(in_order, name), getattr(shuffled, name))


def test_only_the_games_asked_for_are_scored():
    packed, steps = random_games(10)
    chosen = [7, 2]
    scores = score(TOKENS, packed, chosen, [one for one in steps if one.games[0] in chosen])
    assert np.unique(scores.game).tolist() == [2, 7]
    assert len(scores.ply) == packed.lengths[chosen].sum()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda steps: steps[:-1], "1 of 2 plies were not scored"),
        (lambda steps: [*steps, steps[0]], "scored twice"),
        (lambda steps: [*steps, step([1], 0, [[1] * 10])], "not asked for"),
        (lambda steps: [*steps, step([0], 2, [[1] * 10])], "not asked for"),
        (lambda steps: [step([0], 0, [[math.nan] + [1] * 9]), steps[1]], "not a number"),
    ],
)
def test_steps_that_make_no_sense_are_refused(spoil, message):
    packed = packed_of([[0, 1], [2]])
    steps = spoil([step([0], ply, [[1] * 10]) for ply in (0, 1)])
    with pytest.raises(ValueError, match=message):
        score(TOKENS, packed, [0], steps)


def test_a_packed_move_that_is_not_legal_is_named():
    with pytest.raises(ValueError, match="game 0, ply 1: the move played is not legal"):
        score(OpenSpielGame("tic_tac_toe"), packed_of([[4, 4]]), [0], [step([0], ply, [[1] * 9]) for ply in (0, 1)])


def test_the_interval_holds_the_mean_and_shrinks_with_more_games():
    widths = []
    for count in (20, 200):
        packed, steps = random_games(count)
        figures = summarise(score(TOKENS, packed, range(count), steps))["all"]
        for name in ("top1_legal", "nll_legal"):
            low, high = figures[f"{name}_95"]
            assert low < figures[name] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_interval_is_seeded_and_draws_whole_games():
    sums, plies = np.array([[0.0], [10.0], [10.0]]), np.array([10.0, 10.0, 10.0])
    assert np.array_equal(bootstrap(sums, plies), bootstrap(sums, plies))
    assert bootstrap(sums, plies)[0].tolist() == [0, 1]
    assert bootstrap(sums[1:], plies[1:])[0].tolist() == [1, 1]


def test_the_table_has_a_row_per_group_and_the_summary_is_json():
    packed, steps = random_games(5)
    summary = summarise(score(TOKENS, packed, range(5), steps))
    rows = format_figures(json.loads(json.dumps(summary))).splitlines()
    assert len(rows) == 2 + len(summary)
    assert len({row.count("|") for row in rows}) == 1
    assert f"| {summary['all']['plies']:,} | {100 * summary['all']['top1_legal']:.2f} % (" in rows[2]


sequences = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=20), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(sequences, st.lists(st.integers(0, 10), min_size=3, max_size=3), st.integers(0, 3))
def test_probabilities_of_the_baseline_sum_to_one(games: list[list[int]], history: list[int], most: int):
    p = NGram(TOKENS, packed_of(games), range(len(games)), most).probabilities(np.array([history[:most]], np.int32))
    assert p.shape == (1, 10)
    assert p.min() > 0
    assert p.sum() == pytest.approx(1)


def test_unigram_by_hand():
    # Counts 2 and 1, so D = (1 + 1) / (1 + 2 × 1 + 2) = 2/5.
    p = NGram(TokenGame("ab"), packed_of([[0, 0, 1]]), [0], 0).probabilities(np.zeros((1, 0), np.int32))
    assert p[0] == pytest.approx([1.6 / 3 + 0.8 / 3 / 2, 0.6 / 3 + 0.8 / 3 / 2])


def test_a_context_never_seen_leaves_what_the_shorter_one_says():
    packed = packed_of([[0, 1, 2, 3, 1, 2], [4, 1, 5]] * 2)
    longer, shorter = (NGram(TOKENS, packed, range(4), most) for most in (2, 1))
    unseen, seen = np.array([[1, 8]], np.int32), np.array([[1, 4]], np.int32)
    assert longer.probabilities(unseen) == pytest.approx(shorter.probabilities(unseen[:, :1]))
    assert longer.probabilities(unseen).argmax() == 2
    assert shorter.probabilities(seen[:, :1]).argmax() == 2
    assert longer.probabilities(seen).argmax() == 5


def test_the_baseline_counts_only_the_games_it_is_given_and_knows_their_start():
    packed = packed_of([[3, 3, 3], [7, 1, 1], [7, 2, 2]])
    first = next(NGram(TOKENS, packed, [1, 2]).walk(packed, [0]))
    assert first.logits.argmax() == 7
    assert first.logits[0, 3] == first.logits[0, 9]


def test_the_baseline_beats_uniform_on_sequences_that_repeat():
    packed = packed_of([[(start + ply) % 5 for ply in range(12)] for start in range(5)] * 3)
    train, test = range(10), range(10, 15)
    figures = summarise(score(TOKENS, packed, test, NGram(TOKENS, packed, train).walk(packed, test)))
    assert figures["plies 10 and later"]["top1_raw"] == 1
    assert figures["all"]["nll_raw"] < math.log(10) / 2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_table_model(tmp_path / "letters" / "1", TOKENS, letter_after_letter())


@pytest.fixture
def games(tmp_path: Path) -> Path:
    """Ten games a day for two days: ``abcde``, but the first day's end on an ``f`` too many."""
    lines = [{"moves": list("abcdeff"), "date": "2022-11-09"}] * 10 + [
        {"moves": list("abcde"), "date": "2022-11-10"}
    ] * 10
    path = tmp_path / "games.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_the_script_scores_a_model_and_the_baseline(model: Path, games: Path, tmp_path: Path, capsys):
    out, table = tmp_path / "figures.json", tmp_path / "figures.md"
    words = ["--model", model, "--games", games, "--since", "2022-11-10", "--limit", "4", "--train", games]
    evaluate.main([str(word) for word in (*words, "--json", out, "--table", table)])
    results = json.loads(out.read_text())
    assert list(results) == ["letters/1", "n-gram"]
    scored, baseline = results["letters/1"], results["n-gram"]
    assert (scored["scored_on"]["games"], scored["scored_on"]["plies"]) == (4, 20)
    assert baseline["trained_on"]["games"] == 10
    assert scored["figures"]["all"]["top1_legal"] == baseline["figures"]["all"]["top1_legal"] == 1
    assert scored["figures"]["all"]["nll_legal"] == pytest.approx(math.log(math.exp(5) + 9) - 5, abs=1e-4)
    assert table.read_text() == capsys.readouterr().out
    assert "### letters/1" in table.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--games", "nowhere.pgn"], "nowhere.pgn is not a file"),
        (["--since", "soon"], "not a day like 2022-11-10"),
        (["--limit", "0"], "not a whole number from 1"),
        (["--train", "GAMES"], "must not count the games it is scored on"),
        (["--since", "2030-01-01", "--limit", "5"], "no games from 2030-01-01"),
        (["--model", "EMPTY"], "is not a model"),
        (["--ratings"], "games that have both"),
    ],
)
def test_the_script_says_what_is_wrong(
    words: list[str], message: str, model: Path, games: Path, tmp_path: Path, capsys
):
    stand_for = {"GAMES": str(games), "EMPTY": str(tmp_path)}
    given_words = ["--model", str(model), "--games", str(games), *(stand_for.get(word, word) for word in words)]
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(given_words)
    assert message in f"{stopped.value} {capsys.readouterr().err}"


def test_a_model_is_scored_with_and_without_its_memory(games: Path, tmp_path: Path):
    counting = write_table_model(tmp_path / "counting" / "1", TOKENS, 5 * np.eye(10, dtype=np.float32), by_ply=True)
    out, plots = tmp_path / "figures.json", tmp_path / "plots"
    words = [
        "--model",
        counting,
        "--games",
        games,
        "--since",
        "2022-11-10",
        "--forget",
        "--json",
        out,
        "--plots",
        plots,
    ]
    evaluate.main([str(word) for word in words])
    results = json.loads(out.read_text())
    # Without memory every ply is the first one, of which the table foresees an ``a``.
    assert results["counting/1"]["figures"]["all"]["top1_legal"] == 1
    assert results["counting/1 without memory"]["figures"]["all"]["top1_legal"] == 0.2
    assert {path.name for path in plots.iterdir()} == {
        "by-ply.png",
        "calibration-counting-1.png",
        "calibration-counting-1-without-memory.png",
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.iterdir())


def test_positions_of_the_training_games_are_told_from_others(tmp_path: Path):
    board, scored, train = OpenSpielGame("tic_tac_toe"), tmp_path / "scored.jsonl", tmp_path / "train.jsonl"
    opening = ["x(1,1)", "o(0,0)"]
    scored.write_text(json.dumps({"moves": [*opening, "x(0,1)"], "date": "2023-01-02"}))
    train.write_text(json.dumps({"moves": [*opening[:1], "o(2,2)"], "date": "2023-01-01"}))
    packed, report = pack(board, [Source(train)])
    packed.save(tmp_path / "games")
    save_description(tmp_path / "games", describe_sources([Source(train)], report))
    model = write_table_model(tmp_path / "table" / "1", board, np.zeros((10, 9), np.float32))
    found = []
    for path in (train, tmp_path / "games"):
        words = ["--model", model, "--games", scored, "--train", path, "--train-until", "2023-01-02"]
        evaluate.main([str(word) for word in (*words, "--json", tmp_path / "figures.json")])
        found.append(json.loads((tmp_path / "figures.json").read_text()))
    assert found[0]["table/1"] == found[1]["table/1"]
    assert found[1]["n-gram"]["trained_on"]["games"] == 1
    groups = found[0]["table/1"]["figures"]
    assert groups["positions seen in training"]["plies"] == 2
    assert groups["positions not seen"]["plies"] == 1


def test_packed_games_of_another_game_are_refused(tmp_path: Path):
    packed_of([[0]], cells=[[0] * 9]).save(tmp_path)
    save_description(tmp_path, {})
    with pytest.raises(ValueError, match="holds another game than chess"):
        load_packed(Chess(), tmp_path)


def test_late_plies_with_time_left_are_a_group_where_there_are_clocks(tmp_path: Path):
    path = tmp_path / "games.pgn"
    moves = ["Nf3", "Nf6", "Ng1", "Ng8"] * 5
    # Each side's clock shows 100 s after its first move and ten less after every other: 30 s before the ninth.
    clocks = [100 - 10 * (ply // 2) for ply in range(len(moves))]
    text = " ".join(f"{move} {{ [%clk 0:00:{seconds}] }}" for move, seconds in zip(moves, clocks, strict=True))
    path.write_text(f'[Event "a"]\n\n{text} *\n\n[Event "b"]\n\n{" ".join(moves)} *\n')
    recorded = read_games(Chess(), [path], "", "")
    assert recorded.seconds[0].tolist()[2:6] == [100, 100, 90, 90]
    assert np.isnan(recorded.seconds[0][:2]).all()
    assert np.isnan(recorded.seconds[1]).all()
    (name, mask), *others = more_groups(recorded, None).items()
    assert not others
    assert name == "plies 10 and later, 30 s left"
    assert np.flatnonzero(mask).tolist() == list(range(10, 18))
    assert more_groups(replace(recorded, games=np.array([1])), None) == {}
