"""Context fields: which id a value has, and what is said of a value that has none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.games import Chess, Rating, TimeControl, TokenGame, encode_context

RATING, CLOCK = Rating("white_elo"), TimeControl()


@pytest.mark.parametrize(
    ("rating", "bucket"),
    [(0, 1), (599, 1), (600, 1), (699, 1), (700, 2), (1499, 9), (1500, 10), (2899, 23), (2900, 24), (4000, 24)],
)
def test_a_rating_falls_into_buckets_of_a_hundred_points_with_open_ends(rating: int, bucket: int) -> None:
    assert RATING.encode(rating) == bucket


@given(st.integers(0, 3999))
def test_a_higher_rating_never_has_a_lower_bucket(rating: int) -> None:
    assert 0 <= RATING.encode(rating + 1) - RATING.encode(rating) <= 1
    assert 1 <= RATING.encode(rating) < RATING.size


@pytest.mark.parametrize("value", [-1, 4001, True, "1500", 1500.0, [1500], float("nan")])
def test_what_is_no_rating_is_refused_with_what_would_be_one(value: Any) -> None:
    with pytest.raises(ValueError, match="white_elo is a whole number from 0 to 4000, not "):
        RATING.encode(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("0+1", "bullet"),
        ("60+0", "bullet"),
        ("179+0", "bullet"),
        ("180+0", "blitz"),
        ("60+3", "blitz"),
        ("479+0", "blitz"),
        ("300+5", "rapid"),
        ("480+0", "rapid"),
        ("1499+0", "rapid"),
        ("1500+0", "classical"),
        ("900+15", "classical"),
        ("-", "correspondence"),
    ],
)
def test_a_clock_has_the_id_of_its_class(value: str, kind: str) -> None:
    assert CLOCK.encode(value) == CLOCK.encode(kind)


def test_the_classes_of_time_controls_have_all_ids_but_that_of_unknown() -> None:
    classes = ("bullet", "blitz", "rapid", "classical", "correspondence")
    assert [CLOCK.encode(kind) for kind in classes] == list(range(1, CLOCK.size))


@pytest.mark.parametrize("value", ["", "fast", "600", "600+", "5+5s", "1.5+2", "-600+5", 600, None, ["rapid"]])
def test_what_is_no_time_control_is_refused_with_what_would_be_one(value: Any) -> None:
    with pytest.raises(ValueError, match=r'time_control is one of bullet, .*, or seconds like "600\+5", not '):
        CLOCK.encode(value)


def test_context_that_is_not_given_is_unknown() -> None:
    assert encode_context(Chess.context, {}) == [0, 0, 0]
    assert encode_context(Chess.context, {"white_elo": None, "time_control": None}) == [0, 0, 0]
    assert encode_context(Chess.context, {"time_control": "rapid", "black_elo": 1500}) == [0, 10, 3]
    assert encode_context(TokenGame.context, {}) == []


def test_an_unknown_context_field_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="field 'elo': this game knows black_elo, time_control, white_elo"):
        encode_context(Chess.context, {"elo": 1500})
    with pytest.raises(ValueError, match="unknown context field 'white_elo': this game has none"):
        encode_context(TokenGame.context, {"white_elo": 1500})


def test_a_bad_value_in_a_context_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match="black_elo is a whole number from 0 to 4000, not 9000"):
        encode_context(Chess.context, {"white_elo": 1500, "black_elo": 9000})
