"""The vocabulary: ids of names, the start, and what it refuses."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.vocabulary import Vocabulary


@given(st.lists(st.text(), min_size=1, unique=True))
def test_ids_and_names_are_each_other_s_inverse(names: list[str]) -> None:
    vocabulary = Vocabulary(tuple(names))
    assert len(vocabulary) == len(names)
    assert [vocabulary.names[vocabulary.ids[name]] for name in names] == names
    assert sorted(vocabulary.ids.values()) == list(range(len(names)))


@given(st.lists(st.lists(st.text(max_size=3), min_size=1), min_size=1), st.randoms(use_true_random=False))
def test_a_vocabulary_of_sequences_does_not_depend_on_their_order(sequences: list[list[str]], rng: Random) -> None:
    shuffled = sorted(sequences, key=lambda _: rng.random())
    assert Vocabulary.of(sequences) == Vocabulary.of(shuffled)
    assert set(Vocabulary.of(sequences).names) == {name for sequence in sequences for name in sequence}


def test_the_start_is_one_id_more_than_the_moves() -> None:
    vocabulary = Vocabulary(("a", "b", "c"))
    assert vocabulary.start == len(vocabulary) == 3
    assert vocabulary.start not in vocabulary.ids.values()


def test_an_empty_vocabulary_is_refused() -> None:
    for make in (lambda: Vocabulary(()), lambda: Vocabulary.of([]), lambda: Vocabulary.of([[], []])):
        with pytest.raises(ValueError, match="at least one move"):
            make()


def test_a_vocabulary_that_names_a_move_twice_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match=r"named more than once: b, c$"):
        Vocabulary(("a", "c", "b", "c", "b"))
