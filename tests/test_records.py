"""Readers of game records: every oddity of PGN by hand, against python-chess's reader, and JSON lines."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import chess
import chess.pgn
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from model.games import Chess
from model.games.records import Record, read_records

Read = Callable[..., list[Record]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a text to a file and read its records."""

    def write_and_read(text: str | bytes, name: str = "games.pgn") -> list[Record]:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return list(read_records(path))

    return write_and_read


def pgn(moves: str, **tags: str) -> str:
    """Give a game with its tags."""
    return "".join(f'[{name} "{value}"]\n' for name, value in tags.items()) + f"\n{moves}\n\n"


def read_as_uci(record: Record) -> list[str]:
    """Play a record by our rules and write it as UCI."""
    position, played = Chess().new_position(), []
    for move in record.moves:
        index = position.find(move)
        played.append(position.notation(index).move)
        position.play(index)
    return played


def python_chess_reads(text: str) -> list[list[str]]:
    """Give the main lines that python-chess finds."""
    stream, games = io.StringIO(text), []
    while game := chess.pgn.read_game(stream):
        games.append([move.uci() for move in game.mainline_moves()])
    return games


# One game of PGN


def test_a_pgn_game_gives_moves_tags_result_date_and_clocks(read: Read) -> None:
    (record,) = read(
        pgn(
            "1. e4 { [%eval 0.2] [%clk 0:10:00] } 1... e5 { [%clk 0:09:58.5] } 2. Nf3 Nc6 { [%clk 1:00:01] } 1-0",
            Event="Rated game",
            White="a",
            Result="1-0",
            UTCDate="2024.03.09",
            WhiteElo="1500",
            BlackElo="1612",
            TimeControl="600+5",
        )
    )
    assert record.moves == ["e4", "e5", "Nf3", "Nc6"]
    assert record.context == {"white_elo": 1500, "black_elo": 1612, "time_control": "600+5"}
    assert (record.number, record.result, record.date, record.problem) == (1, "1-0", "2024-03-09", None)
    assert record.clocks == [600.0, 598.5, None, 3601.0]


@pytest.mark.parametrize(
    "text",
    [
        "1. e4 e5 2. Nf3 Nc6",
        "1.e4 e5 2.Nf3 Nc6 *",
        "e4 e5 Nf3 Nc6",
        "1 e4 e5 2 Nf3 Nc6",
        "1. e4\n1... e5\n2. Nf3\n2... Nc6\n",
        "1. e4 1. ... e5 2.Nf3 ... Nc6",
        "1. e4 $1 e5 $14$2 2. Nf3$10 Nc6",
        "1. e4! e5? 2. Nf3 !? Nc6 ??",
        "{ before } 1. e4 {one} {two} e5 { a (b; c) 1. d4 } 2. Nf3 Nc6 {over\nlines\n}",
        "1. e4 ; not { this\ne5 ; nor ( that\n2. Nf3 Nc6",
        "1. e4 (1. d4 d5 (1... Nf6 2. c4 (2. Nf3)) 2. c4) e5 (1... c5 {x ) y}) 2. Nf3 Nc6 (2... d6)",
        "1. e4 (1. d4 ; ) ) )\n) e5 2. Nf3 Nc6",
        "1. e4(1. d4)e5{x}2. Nf3{y}Nc6",
        "1. e4 e5\n% escaped { by its first column\n2. Nf3 Nc6",
        "1. e4 e5 2. Nf3 Nc6 1/2-1/2 {agreed}",
    ],
)
def test_a_pgn_game_has_the_same_moves_however_it_is_decorated(read: Read, text: str) -> None:
    (record,) = read(pgn(text, Event="x"))
    assert record.problem is None
    assert read_as_uci(record) == ["e2e4", "e7e5", "g1f3", "b8c6"]
    assert len(record.clocks) == 4


def test_castling_with_zeros_is_no_move_number_and_no_result(read: Read) -> None:
    (record,) = read("1. Nf3 Nf6 2. g3 g6 3. Bg2 Bg7 4.0-0 0-0 5. d3 d6 0-1")
    assert record.moves[6:8] == ["0-0", "0-0"]
    assert len(read_as_uci(record)) == 10
    assert record.result == "0-1"


def test_a_clock_that_is_broken_over_lines_or_in_a_variation_is_not_mistaken(read: Read) -> None:
    (record,) = read("1. e4 {[%clk\n0:03:00]} (1. d4 {[%clk 0:00:01]}) e5 {[%clk 0:02:59 ]} *")
    assert record.clocks == [180.0, 179.0]


def test_unknown_and_unfit_tags_leave_the_context_unknown(read: Read) -> None:
    (record,) = read(
        pgn("1. e4 *", WhiteElo="?", BlackElo="9999", TimeControl="40/7200:3600", Date="2024.??.??", Result="*")
    )
    assert (record.context, record.date, record.result) == ({}, None, "*")


def test_the_date_of_the_game_stands_in_for_an_unknown_one_in_utc(read: Read) -> None:
    (record,) = read(pgn("1. e4 *", UTCDate="????.??.??", Date="1999.12.31"))
    assert record.date == "1999-12-31"


def test_tags_with_quotes_brackets_and_two_on_a_line_are_read(read: Read) -> None:
    (record,) = read('[Event "The "Open" [A] \\"x\\""]\n  [WhiteElo "1500"] [BlackElo "1600"]\n\n1. e4 e5 1-0\n')
    assert record.context == {"white_elo": 1500, "black_elo": 1600}
    assert record.moves == ["e4", "e5"]


@pytest.mark.parametrize("tags", [{"FEN": chess.STARTING_FEN, "SetUp": "1"}, {"Variant": "Chess960"}])
def test_a_game_from_another_position_is_reported_with_its_date(read: Read, tags: dict[str, str]) -> None:
    (record,) = read(pgn("1. e4 *", Date="2024.01.02", **tags))
    assert record.problem == "it does not begin from the usual starting position"
    assert (record.moves, record.date) == ([], "2024-01-02")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1. e4 { never closed e5 2. Nf3 *", "its comment is not closed"),
        ("1. e4 (1. d4 { never closed ) e5 *", "its comment is not closed"),
        ("1. e4 (1. d4 e5 2. Nf3 *", "its variations are not closed"),
        ("1. e4 (1. d4 (1. c4) e5 2. Nf3 *", "its variations are not closed"),
        ("1. e4 ) e5 (1... c5 2. Nf3 *", "it closes a variation that was not opened"),
        ("1. e4 e5 1-0 1. d4 d5 0-1", "it goes on after its result 1-0"),
    ],
)
def test_a_game_that_cannot_be_told_is_reported_and_costs_no_other(read: Read, text: str, problem: str) -> None:
    one, two, three = read(pgn("1. c4 *", Event="1") + pgn(text, Event="2") + pgn("1. d4 *", Event="3"))
    assert (two.number, two.problem, two.moves) == (2, problem, [])
    assert (one.moves, three.moves, three.number, three.problem) == (["c4"], ["d4"], 3, None)


# Files of PGN

TWO_GAMES = pgn("1. e4 e5 1-0", Event="1", WhiteElo="1500") + pgn("1. d4 d5 0-1", Event="2", BlackElo="1600")


@pytest.mark.parametrize(
    "text",
    [
        TWO_GAMES,
        TWO_GAMES.replace("\n\n", "\n"),
        TWO_GAMES.replace("\n", "\r\n"),
        TWO_GAMES.replace("\n", "\r"),
        "\ufeff" + TWO_GAMES,
        TWO_GAMES.replace("\n\n", "\n\n\n \n"),
        "\n\n" + TWO_GAMES.rstrip(),
        "% made by a tool\n; and signed\n" + TWO_GAMES,
        TWO_GAMES.replace("1. e4", "{ first,\n\na word }\n\n1. e4"),
        TWO_GAMES.replace(" e5", "\n1... e5"),
        TWO_GAMES.replace(" e5", "\n\n1. ... e5"),
    ],
)
def test_two_games_are_two_records_however_their_file_is_laid_out(read: Read, text: str) -> None:
    one, two = read(text)
    assert (one.number, one.moves, one.result, one.context) == (1, ["e4", "e5"], "1-0", {"white_elo": 1500})
    assert (two.number, two.moves, two.result, two.context) == (2, ["d4", "d5"], "0-1", {"black_elo": 1600})


@pytest.mark.parametrize(
    "text", ["1. e4 e5 1-0\n1. d4 d5 0-1", "1. e4 e5 1-0\n\n1.d4 d5 0-1\n", "1. e4\ne5\n1-0\n\n\n1. d4 d5 0-1"]
)
def test_games_without_tags_are_told_apart_by_their_first_move(read: Read, text: str) -> None:
    assert [(record.moves, record.result) for record in read(text)] == [(["e4", "e5"], "1-0"), (["d4", "d5"], "0-1")]


def test_games_without_tags_and_results_are_told_apart_by_an_empty_line(read: Read) -> None:
    assert [record.moves for record in read("1. e4 e5\n2. Nf3\n\n1. d4 d5\n")] == [["e4", "e5", "Nf3"], ["d4", "d5"]]


def test_tags_without_moves_are_a_game_of_their_own_and_not_the_next_one_s(read: Read) -> None:
    one, two = read('[Event "1"]\n[WhiteElo "1500"]\n\n[Event "2"]\n\n1. e4 *\n')
    assert (one.moves, one.context) == ([], {"white_elo": 1500})
    assert (two.moves, two.context) == (["e4"], {})


@pytest.mark.parametrize("text", ["", "\n\n", "% nothing\n", "; nothing\n", "\ufeff"])
def test_a_file_without_games_gives_no_record(read: Read, text: str) -> None:
    assert read(text) == []


def test_bytes_that_are_no_utf_8_do_not_stop_the_reader(read: Read) -> None:
    (record,) = read('[White "Müller"]\n\n1. e4 {schön} e5 *\n'.encode("latin-1"))
    assert record.moves == ["e4", "e5"]


@pytest.mark.parametrize("name", ["games.pgn.zst", "GAMES.PGN.ZST", "2024-01.part.pgn.zst"])
def test_a_compressed_file_gives_the_records_of_a_plain_one(read: Read, name: str) -> None:
    assert read(zstandard.compress(TWO_GAMES.encode()), name) == read(TWO_GAMES)


def test_a_compressed_file_may_have_several_frames(read: Read) -> None:
    frames = zstandard.compress(TWO_GAMES.encode()) + zstandard.compress(pgn("1. c4 *", Event="3").encode())
    assert [record.moves[0] for record in read(frames, "games.pgn.zst")] == ["e4", "d4", "c4"]


def test_a_damaged_compressed_file_is_reported_by_its_name(read: Read) -> None:
    with pytest.raises(ValueError, match=r"games\.pgn\.zst cannot be decompressed"):
        read(b"no zstandard at all", "games.pgn.zst")


@pytest.mark.parametrize("name", ["games.txt", "games", "games.zst"])
def test_a_file_of_another_kind_is_refused_with_the_kinds_there_are(read: Read, name: str) -> None:
    with pytest.raises(ValueError, match=r"records come as \.pgn, \.jsonl or \.wtb, each with or without \.zst"):
        read("1. e4 *", name)


@pytest.mark.parametrize("kind", ["pgn", "jsonl"])
def test_the_first_record_of_a_large_compressed_file_does_not_need_the_rest_of_it(tmp_path: Path, kind: str) -> None:
    rng = random.Random(0)
    noise = (f"{rng.getrandbits(256):x}" for _ in range(40_000))
    lines = (
        pgn(f"1. e4 {{{word}}} e5 *", Event=word) if kind == "pgn" else json.dumps(["e4", "e5", word]) + "\n"
        for word in noise
    )
    path = tmp_path / f"games.{kind}.zst"
    content = zstandard.compress("".join(lines).encode())
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(middle))
    records = read_records(path)
    assert [next(records).moves[:2] for _ in range(100)] == [["e4", "e5"]] * 100
    with pytest.raises(ValueError, match="cannot be decompressed"):
        list(records)


# Against python-chess

TRICKY = [
    "1. e4 e5 2. Nf3 (2. f4 exf4 (2... d5 $5 {Falkbeer} 3. exd5) 3. Nf3) 2... Nc6 3. Bb5 a6 $6 {x} ({y} 3... Nf6) *",
    "1.d4 Nf6 2.c4 e6 3.Nc3 Bb4 4.e3 0-0 5.Bd3 d5 6.Nf3 c5 7.0-0 dxc4 8.Bxc4 Nc6 1/2-1/2",
    "1. h4 g5 2. hxg5 h6 3. gxh6 Nc6 4. h7 a6 5. hxg8=N a5 6. Nf6+ exf6 ; a comment { to the end\n7. a3 *",
    "1. e4 a6 2. e5 d5 3. exd6 {en passant} cxd6 4. Nc3 Nc6 5. Nb5 axb5 6. Qf3 Qa5 7. Qxf7+ 1-0",
    '{[%evp 0,1] [Event "no tag"]} 1. f3 {(} e5 {)} 2. g4?? Qh4# 0-1',
    "1. Nf3 d5 2. d4 Nf6 3. Nbd2 Nbd7 4. Nb3 Nb6 5. Nfd2 Nfd7 6. Nf3 (6. e4 dxe4 (6... e6) 7. Nxe4) 6... Nf6 *",
]


def test_main_lines_are_those_that_python_chess_reads(read: Read) -> None:
    text = "".join(pgn(moves, Event=str(number)) for number, moves in enumerate(TRICKY))
    assert [read_as_uci(record) for record in read(text)] == python_chess_reads(text)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), decorations=st.lists(st.sampled_from(range(9)), min_size=40, max_size=40))
def test_any_decorated_game_reads_as_python_chess_reads_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, decorations: list[int]
) -> None:
    rng, board, words = random.Random(seed), chess.Board(), []
    for kind in decorations:
        legal = list(board.legal_moves)
        if not legal:
            break
        number, san = board.fullmove_number, board.san(rng.choice(legal))
        prefix = [f"{number}. ", f"{number}.", f"{number} ", ""][rng.randrange(4)] if board.turn else ""
        words.append(prefix + san)
        other = f"{number}{'.' if board.turn else '...'} {board.san(rng.choice(legal))}"
        words += {
            0: [],
            1: ["$1"],
            2: ["{ a comment }"],
            3: [f"({other})"],
            4: [f"( {other} {{ ) }} $3 )"],
            5: ["; ( to the end of the line {\n"],
            6: ["\n"],
            7: [f"({other} ({other}) )", f"({other})"],
            8: ["{ [%clk 0:01:02] }"],
        }[kind]
        board.push_san(san)
    text = pgn(" ".join(words) + " *", Event="decorated", Result="*")
    path = tmp_path_factory.mktemp("decorated") / "games.pgn"
    path.write_text(text)
    (record,) = read_records(path)
    assert record.problem is None
    assert [read_as_uci(record)] == python_chess_reads(text) == [[move.uci() for move in board.move_stack]]


# JSON lines


def test_json_lines_are_lists_or_objects(read: Read) -> None:
    lines = ['["open", "read"]', "", '{"moves": ["e4"], "context": {"white_elo": 1500}, "date": "2024-01-02"}']
    one, two = read("\n".join(lines), "games.jsonl")
    assert (one.number, one.moves, one.context, one.date, one.problem) == (1, ["open", "read"], {}, None, None)
    assert (two.number, two.moves, two.context, two.date) == (2, ["e4"], {"white_elo": 1500}, "2024-01-02")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('["open", "read"', "delimiter"),
        ("open read", "Expecting value"),
        ('{"move": ["a"]}', 'a line is a list of strings, or an object with "moves", such a list'),
        ('["a", 1]', "a line is a list of strings"),
        ('"a"', "a line is a list of strings"),
        ("null", "a line is a list of strings"),
        ('{"moves": ["a"], "context": [["x"]]}', '"context" is an object'),
        ('{"moves": ["a"], "date": 2024}', '"date" is a string like'),
        ('{"moves": ["a"], "date": "yesterday"}', '"date" is a string like'),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_broken_json_line_is_reported_and_costs_no_other(read: Read, line: str, problem: str) -> None:
    one, two, three = read(f'["a"]\n{line}\n["b"]\n', "games.jsonl")
    assert two.number == 2
    assert problem in two.problem
    assert (one.moves, three.moves, three.number) == (["a"], ["b"], 3)
