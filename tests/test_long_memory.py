"""The language of agreement, what a cell learns of it in a moment, and the pictures of long memory and clipping."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.agreement import NOUNS, PREPOSITIONS, WORDS, Course, Reader, accuracy, learn, make_sentences, reach
from model.cells import CELLS
from scripts import long_memory

TINY = Course(width=16, layers=1, batch=32, steps=80, rate=0.02)


def spelt(words: np.ndarray) -> list[str]:
    return [WORDS[word] for word in words]


# The language


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 70))
def test_the_verb_agrees_with_the_first_noun_and_every_other_noun_is_in_a_phrase(
    seed: int, count: int, distance: int
) -> None:
    sentences = make_sentences(np.random.default_rng(seed), count, distance)
    subject = len(sentences.words) - 1 - distance
    assert sentences.words.shape == (subject + 1 + distance, count)
    for words, plural in zip(sentences.words.T, sentences.plural, strict=True):
        sentence = spelt(words)
        assert next(place for place, word in enumerate(sentence) if word in NOUNS) == subject
        assert sentence[subject].endswith("s") == plural
        assert not set(sentence[:subject]) & set(PREPOSITIONS)
        after = list(zip(sentence[subject:], sentence[subject + 1 :], strict=False))
        assert all((before in PREPOSITIONS) == (word in NOUNS) for before, word in after)
        assert sentence[-1] not in PREPOSITIONS


def test_subjects_and_nouns_between_are_as_often_singular_as_plural_and_do_not_tell_of_each_other() -> None:
    rng = np.random.default_rng(0)
    drawn = [make_sentences(rng, 500, 20) for _ in range(20)]
    plural = np.concatenate([sentences.plural for sentences in drawn])
    between = np.concatenate(
        [
            [
                sum(word.endswith("s") * 2 - 1 for word in spelt(words[-20:]) if word in NOUNS)
                for words in sentences.words.T
            ]
            for sentences in drawn
        ]
    )
    nouns = np.concatenate([np.isin(sentences.words[-20:], range(len(NOUNS))).sum(0) for sentences in drawn])
    assert abs(plural.mean() - 0.5) < 0.02
    assert abs(between.mean()) < 0.1
    assert abs(np.corrcoef(plural, between)[0, 1]) < 0.03
    assert 3 < nouns.mean() < 5
    assert len({len(sentences.words) for sentences in drawn}) > 5


def test_a_seed_gives_the_same_sentences_again() -> None:
    one, again, other = (make_sentences(np.random.default_rng(seed), 8, 12) for seed in (3, 3, 4))
    assert np.array_equal(one.words, again.words)
    assert one.words.shape != other.words.shape or not np.array_equal(one.words, other.words)


# Readers


@pytest.mark.parametrize("kind", CELLS)
def test_every_cell_learns_to_agree_over_a_word(kind: str) -> None:
    reader = Reader(kind, TINY)
    before = accuracy(reader, 1)
    steps = learn(reader, [1], TINY)
    assert before < 0.7
    assert accuracy(reader, 1) > 0.95
    assert steps[-5:, 0].mean() < 0.3 < steps[:5, 0].mean()
    assert (steps[:, 1] > 0).all()


def test_training_ends_when_the_task_is_solved_and_is_the_same_again() -> None:
    course = replace(TINY, solved=0.4)
    one, again = (learn(Reader("lstm", course), [1, 2], course) for _ in range(2))
    assert 20 <= len(one) < course.steps
    assert one[-20:, 0].mean() < 0.4 <= one[-21:-1, 0].mean()
    assert np.array_equal(one, again)


def test_the_reach_is_the_gradient_of_the_loss_over_the_error() -> None:
    reader = Reader("gru", TINY).double()
    sentences = make_sentences(np.random.default_rng(6), 64, 6)
    vectors = reader.vectors(torch.from_numpy(sentences.words)).detach().requires_grad_()
    odds, plural = reader(vectors), torch.from_numpy(sentences.plural).double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, plural, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, vectors)
    error = (odds.sigmoid() - plural).abs()
    assert reach(reader, 6) == pytest.approx((gradient[-7].norm(dim=1) / error).mean().item())


def test_the_gradient_of_a_plain_cell_vanishes_and_open_forget_gates_keep_it() -> None:
    def ratio(kind: str, forget: float | None = None) -> float:
        reader = Reader(kind, TINY, forget)
        return reach(reader, 60) / reach(reader, 3)

    plain, closed, shipped, wide = ratio("rnn"), ratio("lstm", 0.0), ratio("lstm"), ratio("lstm", 5.0)
    assert plain < 1e-6
    assert closed < shipped < 0.1 < wide


# Pictures


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two cells, next to no training, another folder."""
    lines = {"rnn": ("rnn", None), "lstm, forget bias 4": ("lstm", 4.0)}
    monkeypatch.setattr(long_memory, "LINES", lines)
    return ["--out", str(tmp_path), "--distances", "1", "3", "--steps", "25", "--width", "8", "--layers", "1"]


def test_the_picture_of_long_memory_and_its_figures_are_written(tmp_path: Path, quick: list[str]) -> None:
    long_memory.main(quick)
    report = json.loads((tmp_path / "long-memory.json").read_text())
    assert report["distances"] == [1, 3]
    assert report["course"]["steps"] == 25
    assert list(report["cells"]) == ["rnn", "lstm, forget bias 4"]
    assert all(len({json.dumps(found) for found in seeds}) == 3 for seeds in report["cells"].values())
    for found in itertools.chain(*report["cells"].values()):
        assert found.keys() - {"parameters", "steps_mixed"} == {
            "steps", "accuracy", "accuracy_mixed", "gradient_before", "gradient_after"
        }  # fmt: skip
        assert all(0.3 < right <= 1 for right in found["accuracy"] + found["accuracy_mixed"])
        assert found["gradient_before"][0] > found["gradient_before"][1] > 0
    assert (tmp_path / "long-memory.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_clipping_and_its_figures_are_written(tmp_path: Path, quick: list[str]) -> None:
    long_memory.main([*quick, "--clipping"])
    report = json.loads((tmp_path / "clipping.json").read_text())
    assert report["runs"].keys() == long_memory.CLIPPED.keys()
    for run in report["runs"].values():
        for found in itertools.chain(*run.values()):
            assert len(found["loss"]) == len(found["norm"]) == 25
            assert all(map(math.isfinite, found["loss"] + found["norm"]))
    assert (tmp_path / "clipping.png").read_bytes().startswith(b"\x89PNG")
