"""How often moves are played that are given a certain probability: by hand, and where moves are drawn as predicted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation import Scores, score
from model.evaluation.calibration import calibration, format_calibration
from model.evaluation.scores import BINS, EDGES, bin_of
from model.games import OpenSpielGame
from model.runner import Step
from tests.scoring import TOKENS, packed_of, step


def drawn(games: int, overconfident: float = 1.0) -> Scores:
    """One ply a game, drawn from probabilities that differ from game to game; those predicted are sharper."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(games, 10))
    moves = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    predicted = Step(np.arange(games), 0, (logits * overconfident).astype(np.float32), [])
    return score(TOKENS, packed_of([[move] for move in moves.tolist()]), range(games), [predicted])


def test_reliability_by_hand():
    # In both games one move has 0.55 and the others 0.05 each; it is played in the first game.
    weights = [[11] + [1] * 9] * 2
    found = calibration(score(TOKENS, packed_of([[0], [4]]), [0, 1], [step([0, 1], 0, weights)]))
    (first,) = found["top_move"]["bins"]
    assert (first["from"], first["to"], first["moves"], first["played"]) == (0.5, 0.6, 2, 0.5)
    assert first["predicted"] == pytest.approx(0.55, abs=1e-5)
    assert found["top_move"]["ece"] == pytest.approx(0.05, abs=1e-5)
    low, high = found["legal_moves"]["bins"]
    assert (low["moves"], high["moves"]) == (18, 2)
    assert (low["played"], high["played"]) == (round(1 / 18, 5), 0.5)
    assert found["legal_moves"]["ece"] == pytest.approx((abs(1 - 18 * 0.05) + abs(1 - 2 * 0.55)) / 20, abs=1e-5)


def test_only_legal_moves_are_counted():
    game = OpenSpielGame("tic_tac_toe")
    steps = [step([0], 0, [[1] * 9]), step([0], 1, [[100, 1, 1, 1, 1, 1, 1, 1, 1]])]
    found = calibration(score(game, packed_of([[0, 4]]), [0], steps))
    assert sum(entry["moves"] for entry in found["legal_moves"]["bins"]) == 9 + 8


def test_moves_drawn_as_predicted_are_calibrated_and_others_are_not():
    honest, sharp = calibration(drawn(20_000)), calibration(drawn(20_000, overconfident=2))
    for kind, most in (("top_move", 0.015), ("legal_moves", 0.004)):
        assert honest[kind]["ece"] < most
        assert sharp[kind]["ece"] > 4 * honest[kind]["ece"]
    assert all(entry["played"] < entry["predicted"] for entry in sharp["top_move"]["bins"] if entry["moves"] > 100)


def test_every_ply_plays_one_move_and_gives_probabilities_that_sum_to_one():
    found = calibration(drawn(300))
    for kind, total in (("top_move", 300), ("legal_moves", 3000)):
        assert sum(entry["moves"] for entry in found[kind]["bins"]) == total
    for key in ("played", "predicted"):
        assert sum(b["moves"] * b[key] for b in found["legal_moves"]["bins"]) == pytest.approx(300, rel=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1, width=32))
def test_a_probability_lies_in_its_bin(p: float):
    (place,) = bin_of(np.array([p], np.float32))
    assert 0 <= place < BINS
    assert EDGES[place] <= p <= EDGES[place + 1]


def test_the_sentence_says_the_figures():
    weights = [[11] + [1] * 9] * 2
    found = calibration(score(TOKENS, packed_of([[0], [4]]), [0, 1], [step([0, 1], 0, weights)]))
    sentence = format_calibration(found)
    assert "given 55.00 % on average and played 50.00 % of the time" in sentence
    assert "5.00 points" in sentence
