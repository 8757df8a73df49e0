"""Packing, batches and buckets: what is taken, what is left out, and where each ply ends up."""

import json
import random
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import dataset
from model.batches import NOTHING, bucket, collate
from model.dataset import Packed, Report, Source, describe_sources, encode, pack, save_description
from model.games import Chess, Game, OpenSpielGame, TokenGame
from model.games.records import Record

CHESS, LETTERS = Chess(), TokenGame("abc")

GAMES = """[WhiteElo "1500"]
[UTCDate "2024.01.31"]

1. e4 e5 2. Nf3 Nc6 1-0

[BlackElo "2000"]
[UTCDate "2024.02.01"]

1. e4 e5 2. Ke3 *

[UTCDate "2024.02.02"]

1. d4 {open *

[FEN "8/8/8/8/8/8/8/K1k5 w - - 0 1"]
[UTCDate "2024.02.03"]

1. Ka2 *

[TimeControl "60+0"]

1. d4 d5 *

[Result "*"]

*
"""


def write(folder: Path, content: str, name: str = "games.pgn") -> Source:
    (folder / name).write_text(content)
    return Source(folder / name)


def random_chess(seed: int, plies: int) -> str:
    rng, position, moves = random.Random(seed), CHESS.new_position(), []
    while (legal := position.legal()) and len(moves) < plies:
        moves.append(position.notation(index := rng.choice(legal)).move)
        position.play(index)
    return json.dumps({"moves": moves, "context": {"white_elo": rng.randrange(600, 2900)}}) + "\n"


def packed_letters(folder: Path, *games: str) -> Packed:
    lines = "".join(json.dumps(list(game)) + "\n" for game in games)
    return pack(LETTERS, [write(folder, lines, "letters.jsonl")])[0]


def same(one: Packed, other: Packed) -> bool:
    return all(
        np.array_equal(array, getattr(other, name)) and array.dtype == getattr(other, name).dtype
        for name, array in vars(one).items()
    )


# Packing


def test_packed_arrays_hold_each_game_s_moves_players_boards_and_context(tmp_path: Path) -> None:
    packed, _ = pack(CHESS, [write(tmp_path, GAMES)])
    assert packed.offsets.tolist() == [0, 4, 6]
    assert packed.lengths.tolist() == [4, 2]
    assert len(packed) == 2
    assert packed.players.tolist() == [0, 1, 0, 1, 0, 1]
    assert packed.context.tolist() == [[10, 0, 0], [0, 0, 1]]
    for start, moves in ((0, ["e4", "e5", "Nf3", "Nc6"]), (4, ["d4", "d5"])):
        position = CHESS.new_position()
        for ply, move in enumerate(moves, start):
            assert packed.tokens[ply] == position.find(move)
            assert packed.cells[ply].tobytes() == position.cells()
            position.play(position.find(move))
    assert [array.dtype for array in vars(packed).values()] == [np.int32, np.uint8, np.uint8, np.uint8, np.int64]


def test_bad_games_are_skipped_counted_and_reported_with_their_numbers(tmp_path: Path) -> None:
    packed, report = pack(CHESS, [write(tmp_path, GAMES)])
    assert (report.games, report.plies, report.skipped) == (len(packed), 6, 4)
    assert report.problems == [
        "games.pgn game 2: move 2: 'Ke3' is not legal here",
        "games.pgn game 3: its comment is not closed",
        "games.pgn game 4: it does not begin from the usual starting position",
        "games.pgn game 6: it has no moves",
    ]
    assert str(report).startswith("2 games, 6 plies; 4 bad games skipped\n  games.pgn game 2: ")


def test_a_bad_context_makes_a_bad_game(tmp_path: Path) -> None:
    lines = '{"moves": ["e4"], "context": {"white_elo": "high"}}\n{"moves": ["e4"], "context": {"elo": 1}}\n["d4"]\n'
    packed, report = pack(CHESS, [write(tmp_path, lines, "games.jsonl")])
    assert (len(packed), report.skipped) == (1, 2)
    assert "white_elo is a whole number" in report.problems[0]
    assert "unknown context field 'elo'" in report.problems[1]


def test_only_the_first_problems_are_named() -> None:
    report = Report()
    for number in range(1000):
        report.skip(Source(Path("x.pgn")), number, "bad")
    assert report.skipped == 1000
    assert len(report.problems) < 50


def test_a_file_without_a_good_game_is_an_error_that_names_the_problems(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no game could be read: 0 games, 0 plies; 1 bad games skipped\n.*game 1:"):
        pack(CHESS, [write(tmp_path, "1. e5 *")])


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"every": 2}, [2, 4]),
        ({"since": "2024-02-01"}, [2, 3]),
        ({"until": "2024-02-02"}, [1, 2, 4]),
        ({"since": "2024-01-01", "until": "2024-02-02"}, [1, 2]),
    ],
)
def test_a_source_takes_one_game_in_so_many_between_two_dates(source: dict[str, str], numbers: list[int]) -> None:
    dates = ["2024-01-31", "2024-02-01", "2024-02-02", None]
    records = [Record(number, ["e4"], date=date) for number, date in enumerate(dates, start=1)]
    assert [record.number for record in records if Source(Path("x.pgn"), **source).takes(record)] == numbers


def test_two_workers_pack_what_one_packs_in_the_same_order(tmp_path: Path) -> None:
    lines = [random_chess(seed, plies=3) for seed in range(3200)]
    lines[700] = '["e5"]\n'
    sources = [write(tmp_path, "".join(lines), "games.jsonl"), write(tmp_path, GAMES)]
    one, one_report = pack(CHESS, sources, workers=1)
    two, two_report = pack(CHESS, sources, workers=2)
    assert len(one) == 3201
    assert same(one, two)
    assert one_report == two_report
    assert [problem.split(":")[0] for problem in two_report.problems[:2]] == [
        "games.jsonl game 701",
        "games.pgn game 2",
    ]


def test_packing_holds_a_few_records_at_a_time_and_not_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, held = list[weakref.ref[Record]](), list[int]()

    def read(_: Path) -> Iterator[Record]:
        for number in range(1, 20_001):
            record = Record(number, ["a"])
            seen.append(weakref.ref(record))
            yield record
            if number % 500 == 0:
                held.append(sum(reference() is not None for reference in seen))

    monkeypatch.setattr(dataset, "read_records", read)
    packed, _ = pack(LETTERS, [Source(Path("large.jsonl"))], workers=2)
    assert len(packed) == 20_000
    assert len(held) == 40
    assert max(held) < 6000


def test_selected_games_come_whole_and_in_the_order_asked_for(tmp_path: Path) -> None:
    lines = "".join(random_chess(seed, plies=3 + seed) for seed in range(5))
    packed, _ = pack(CHESS, [write(tmp_path, lines, "games.jsonl")])
    some = packed.select(np.array([3, 0]))
    assert some.offsets.tolist() == [0, 6, 9]
    assert some.context.tolist() == packed.context[[3, 0]].tolist()
    for new, old in ((0, 3), (1, 0)):
        for name in ("tokens", "players", "cells"):
            game = getattr(some, name)[slice(*some.offsets[new : new + 2])]
            assert np.array_equal(game, getattr(packed, name)[slice(*packed.offsets[old : old + 2])])


@pytest.mark.parametrize("game", [CHESS, LETTERS, OpenSpielGame("tic_tac_toe")], ids=lambda game: game.name)
def test_packed_games_are_loaded_as_they_were_saved(tmp_path: Path, game: Game) -> None:
    position, moves = game.new_position(), []
    for _ in range(4):
        index = (position.legal() or [0])[0]
        moves.append(position.notation(index).move)
        position.play(index)
    packed, _ = pack(game, [write(tmp_path, json.dumps(moves), "games.jsonl")])
    packed.save(tmp_path / "packed")
    loaded = Packed.load(tmp_path / "packed")
    assert same(packed, loaded)
    assert loaded.context.shape == (1, len(game.context))
    assert loaded.cells.shape == (4, game.grid.cells if game.grid else 0)


def test_the_description_of_data_is_kept_beside_it(tmp_path: Path) -> None:
    source = Source(tmp_path / "games.pgn", every=3, since="2024-01-01")
    description = describe_sources([source], Report(games=2, plies=6, skipped=1))
    save_description(tmp_path, description)
    assert describe_sources([source])["sources"] == description["sources"]
    assert json.loads((tmp_path / "data.json").read_text()) == description
    assert description == {
        "sources": [{"every": "3", "since": "2024-01-01", "until": "", "file": "games.pgn"}],
        "games": 2,
        "plies": 6,
        "skipped": 1,
        "repeated": 0,
    }


def test_encode_names_the_move_that_cannot_be_played() -> None:
    with pytest.raises(ValueError, match=r"^move 1: 'e4' is not legal here$"):
        encode(CHESS, Record(1, ["e4", "e4"]))


# Batches


def test_a_batch_lays_out_tokens_one_behind_targets_with_the_start_in_front(tmp_path: Path) -> None:
    packed = packed_letters(tmp_path, "abc", "c", "bbc")
    batch = collate(LETTERS, packed, np.array([2, 1, 0]), packed.context[[2, 1, 0]])
    assert batch.targets.tolist() == [1, 1, 2, 2, 0, 1, 2]
    assert batch.tokens.tolist() == [3, 1, 1, 3, 3, 0, 1]
    assert batch.mask.tolist() == [[True, True, True], [True, False, False], [True, True, True]]
    assert batch.seen.shape == (7, 0)
    assert batch.cells.shape == (7, 0)


def test_a_batch_shows_each_ply_its_own_board_and_the_context_of_its_player(tmp_path: Path) -> None:
    packed, _ = pack(CHESS, [write(tmp_path, "".join(random_chess(seed, 9 - seed) for seed in range(4)), "x.jsonl")])
    context = np.array([[5, 9, 1], [7, 0, 2]], np.uint8)
    batch = collate(CHESS, packed, np.array([3, 1]), context)
    assert batch.mask.sum(1).tolist() == [6, 8]
    first, second = packed.offsets[3], packed.offsets[1]
    assert np.array_equal(batch.cells, packed.cells[[*range(first, first + 6), *range(second, second + 8)]])
    later = np.concatenate([packed.cells[first + 2 : first + 6], packed.cells[second + 2 : second + 8]])
    assert np.array_equal(batch.later[[*range(4), *range(6, 12)]], later)
    assert set(batch.later[[4, 5, 12, 13]].flatten()) == {NOTHING}
    assert batch.seen[:6].tolist() == [[5, 9, 1, 0], [9, 5, 1, 1]] * 3
    assert batch.seen[6:9].tolist() == [[7, 0, 2, 0], [0, 7, 2, 1], [7, 0, 2, 0]]
    assert (batch.tokens.dtype, batch.targets.dtype, batch.seen.dtype) == (np.int64, np.int64, np.int64)


# Buckets


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=400), st.integers(1, 2000), st.integers(0, 9))
def test_buckets_hold_every_game_once(lengths: list[int], tokens: int, seed: int) -> None:
    batches = bucket(np.array(lengths), tokens, seed)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)
    assert all(np.array(lengths)[batch].sum() <= tokens + 300 for batch in batches)


def test_buckets_put_games_of_similar_length_together() -> None:
    lengths = np.random.default_rng(0).integers(2, 200, 3000)
    batches = bucket(lengths, 2048, seed=1)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_buckets_come_in_an_order_that_depends_on_the_seed_alone() -> None:
    lengths = np.random.default_rng(0).integers(2, 200, 500)
    one, again, other = (bucket(lengths, 1000, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert [batch.tolist() for batch in one] != [batch.tolist() for batch in other]
    assert [lengths[batch].max() for batch in one] != sorted(lengths[batch].max() for batch in one)
