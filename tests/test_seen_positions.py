"""Whether a position was among those of other games: boards that differ in any cell are told apart."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.evaluation import positions
from model.evaluation.positions import Positions, hash_boards
from tests.scoring import packed_of

boards = st.integers(1, 70).flatmap(lambda cells: arrays(np.uint8, st.tuples(st.integers(1, 20), st.just(cells))))


@settings(max_examples=50, deadline=None)
@given(boards)
def test_boards_have_one_number_if_and_only_if_they_are_the_same(cells: np.ndarray):
    hashes = hash_boards(cells)
    assert len(np.unique(hashes)) == len(np.unique(cells, axis=0))
    assert np.array_equal(hashes, [hash_boards(board[None])[0] for board in cells])


def test_boards_that_differ_in_few_cells_are_told_apart():
    # All boards of 64 cells that differ from an empty one in two cells: a weak sum of words would mix some of them up.
    first, second = np.triu_indices(64, 1)
    boards = np.zeros((len(first) * 9, 64), np.uint8)
    for codes in range(9):
        rows = np.arange(len(first)) * 9 + codes
        boards[rows, first], boards[rows, second] = codes // 3 + 1, codes % 3 + 1
    assert len(np.unique(hash_boards(boards))) == len(boards)


@settings(max_examples=50, deadline=None)
@given(boards, st.integers(1, 7))
def test_positions_hold_exactly_what_they_were_given(cells: np.ndarray, chunk: int):
    known, asked = cells[::2], cells
    with_chunks, positions._CHUNK = positions._CHUNK, chunk
    try:
        held = Positions(packed_of([[0] * len(known)], cells=known.tolist())).hold(asked)
    finally:
        positions._CHUNK = with_chunks
    assert held.tolist() == [board.tobytes() in {other.tobytes() for other in known} for board in asked]
