"""Figures that can be worked out by hand, the baseline's probabilities, and the script on a model of one table."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.artifact import GRAPH, write_manifest
from model.dataset import Packed
from model.evaluation import Scores, bootstrap, format_table, score, summarise
from model.games import Chess, Game, OpenSpielGame, TokenGame
from model.ngram import NGram
from model.runner import Step
from scripts import evaluate

TOKENS = TokenGame("abcdefghij")


def packed_of(games: list[list[int]], context: list[list[int]] | None = None) -> Packed:
    lengths = [len(moves) for moves in games]
    return Packed(
        tokens=np.array([move for moves in games for move in moves], np.int32),
        players=np.array([ply % 2 for length in lengths for ply in range(length)], np.uint8),
        cells=np.zeros((sum(lengths), 0), np.uint8),
        context=np.array(context or [[] for _ in games], np.uint8).reshape(len(games), -1),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def step(games: list[int], ply: int, weights: list[list[float]]) -> Step:
    """Scores in proportion to ``weights``, off by a constant that must not matter."""
    return Step(np.array(games), ply, (np.log(weights) + 3).astype(np.float32), [])


def certain(packed: Packed, moves: int, right: list[list[bool]]) -> list[Step]:
    """One step per ply; e times the weight of any other for the move played where ``right``, for another elsewhere."""
    steps = []
    for number, row in enumerate(right):
        for ply, hit in enumerate(row):
            weights = np.ones(moves)
            played = packed.tokens[packed.offsets[number] + ply]
            weights[played if hit else (played + 1) % moves] = math.e
            steps.append(step([number], ply, [weights.tolist()]))
    return steps


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
    position, moves = game.new_position(), []
    for move in ("e4", "e5", "Nf3"):
        moves.append(position.find(move))
        position.play(moves[-1])
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
    for count in (20, 500):
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
    rows = format_table(json.loads(json.dumps(summary))).splitlines()
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
    """A model of one table: after each move the next letter, after the start an ``a``."""
    folder, size = tmp_path / "letters" / "1", len(TOKENS.vocabulary)
    folder.mkdir(parents=True)
    table = np.zeros((size + 1, size), np.float32)
    table[np.arange(size + 1), (np.arange(size + 1) + 1) % size] = 5
    table[size] = 5 * np.eye(size)[0]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "tokens"], ["logits"])],
        "letters",
        [onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, ["rows"])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["rows", size])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), folder / GRAPH)
    facts = {"name": "letters", "version": "1", "game": {"name": "tokens"}, "vocabulary": TOKENS.vocabulary.names}
    empty = {name: {} for name in ("network", "data", "figures", "parity", "tools")}
    write_manifest(folder, facts | empty | {"context": (), "state": (), "cell": "table", "precision": "fp32"})
    return folder


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
