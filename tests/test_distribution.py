"""What a row of scores says of the moves that may come."""

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.distribution import Candidates, Distribution


def distribution_of(candidates: Candidates, logits: np.ndarray) -> Distribution:
    (distribution,) = Distribution.of([candidates], logits[None])
    return distribution


scores = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-150, 150, width=32))


def test_probabilities_are_those_of_the_scores():
    distribution = distribution_of([7, 2, 5], np.log(np.array([0, 0, 6, 0, 0, 3, 0, 1]) + 1e-30).astype(np.float32))
    assert distribution.top(3) == [(2, pytest.approx(0.6)), (5, pytest.approx(0.3)), (7, pytest.approx(0.1))]
    assert distribution.surprisal(7) == pytest.approx(-math.log(0.1))


def test_without_candidates_every_id_is_one():
    distribution = distribution_of(None, np.array([0, math.log(2), 0], np.float32))
    assert distribution.top(9) == [(1, pytest.approx(0.5)), (0, pytest.approx(0.25)), (2, pytest.approx(0.25))]
    assert distribution.surprisal(1) == pytest.approx(math.log(2))


def test_equally_likely_moves_come_in_the_order_of_the_candidates():
    assert [move for move, _ in distribution_of([3, 1, 2], np.zeros(4, np.float32)).top(2)] == [3, 1]


def test_where_nothing_may_be_played_nothing_is_likely():
    distribution = distribution_of([], np.zeros(4, np.float32))
    assert distribution.top(5) == []
    assert distribution.log_p.shape == (0,)


def test_the_only_move_is_certain():
    distribution = distribution_of([2], np.array([150, 0, -150], np.float32))
    assert distribution.top(5) == [(2, 1.0)]
    assert str(distribution.surprisal(2)) == "0.0"


@given(scores)
@example(np.array([-150, 150], np.float32))
def test_probabilities_add_up_and_surprisal_is_their_logarithm(logits: np.ndarray):
    distribution = distribution_of(None, logits)
    likeliest = distribution.top(len(logits))
    assert math.fsum(probability for _, probability in likeliest) == pytest.approx(1, abs=1e-5)
    assert sorted(move for move, _ in likeliest) == list(range(len(logits)))
    for move, probability in likeliest:
        assert probability == pytest.approx(math.exp(-distribution.surprisal(move)))
        assert distribution.surprisal(move) >= 0


@given(scores, st.data())
def test_a_move_that_scores_higher_is_never_less_likely(logits: np.ndarray, data: st.DataObject):
    moves = data.draw(st.permutations(range(len(logits))).map(lambda order: order[: 1 + len(order) // 2]))
    likeliest = [move for move, _ in distribution_of(moves, logits).top(len(moves))]
    assert sorted(likeliest) == sorted(moves)
    assert all(logits[one] >= logits[next_] - 1e-4 for one, next_ in pairwise(likeliest))


@given(scores)
def test_a_distribution_kept_as_float32_is_the_same_distribution(logits: np.ndarray):
    distribution = distribution_of(None, logits)
    kept = Distribution(None, np.frombuffer(distribution.log_p.tobytes(), np.float32))
    assert kept.top(100) == distribution.top(100)
    assert [kept.surprisal(move) for move in range(len(logits))] == (-distribution.log_p.astype(float)).tolist()


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(300)), elements=st.floats(-150, 150, width=32)),
    st.data(),
)
def test_a_row_has_the_same_bits_alone_and_in_any_company(logits: np.ndarray, data: st.DataObject):
    some = st.lists(st.integers(0, 299), unique=True, max_size=60)
    candidates = data.draw(st.lists(st.none() | some, min_size=len(logits), max_size=len(logits)))
    together = Distribution.of(candidates, logits)
    for moves, row, found in zip(candidates, logits, together, strict=True):
        alone = distribution_of(moves, row)
        assert found.moves == moves
        assert found.log_p.tobytes() == alone.log_p.tobytes()


@given(arrays.arrays(np.float32, st.integers(129, 400), elements=st.sampled_from([-3, -1, 0, 2])), st.integers(1, 400))
def test_the_likeliest_of_many_are_those_of_all_in_order(logits: np.ndarray, count: int):
    distribution = distribution_of(None, logits)
    every = sorted(range(len(logits)), key=lambda move: (-logits[move], move))
    assert [move for move, _ in distribution.top(count)] == every[:count]


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(2, 9)),
        elements=st.sampled_from([-math.inf, -3, -1, 0, 2]),
    ),
    st.integers(1, 12),
)
def test_the_likeliest_of_a_row_are_the_same_alone_and_in_any_company(logits: np.ndarray, count: int):
    # Something always can come.
    logits[:, 1] = 1
    together = Distribution.of([None] * len(logits), logits)
    assert [one.top(count) for one in together] == [distribution_of(None, row).top(count) for row in logits]


def test_moves_that_cannot_come_are_given_last_and_once():
    distribution = distribution_of([4, 1, 3, 0], np.array([-math.inf, 1, 0, -math.inf, 1], np.float32))
    assert distribution.top(9) == [(4, pytest.approx(0.5)), (1, pytest.approx(0.5)), (3, 0.0), (0, 0.0)]


@pytest.mark.parametrize("candidates", [None, range(0, 2000, 2)], ids=["every id", "some ids"])
def test_who_keeps_a_row_keeps_no_other(candidates: Candidates):
    logits = np.random.default_rng(0).normal(size=(64, 2000)).astype(np.float32)
    tracemalloc.start()
    try:
        kept = [Distribution.of([candidates] * 64, logits)[0].log_p for _ in range(20)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * sum(row.nbytes for row in kept)
