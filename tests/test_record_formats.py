"""Compressed files, WTHOR and records of xiangqi: bytes made by hand, whole, damaged and cut off."""

import gzip
import io
import random
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from model.dataset import Source, pack
from model.games import OpenSpielGame, Xiangqi
from model.games.records import Record, first_of_each, read_records

Read = Callable[..., list[Record]]

OTHELLO = OpenSpielGame("othello")
TWO_GAMES = '[Event "1"]\n\n1. e4 e5 1-0\n\n[Event "2"]\n\n1. d4 d5 0-1\n\n'


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write bytes to a file and read its records."""

    def write_and_read(content: bytes, name: str) -> list[Record]:
        path = tmp_path / name
        path.write_bytes(content)
        return list(read_records(path))

    return write_and_read


def zipped(*files: bytes) -> bytes:
    """Give an archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(files):
            archive.writestr(f"{number}.pgn", content)
    return stream.getvalue()


COMPRESS = {".zst": zstandard.ZstdCompressor(write_checksum=True).compress, ".gz": gzip.compress, ".zip": zipped}


def noise(games: int) -> bytes:
    """Give a PGN that hardly compresses, with so many games."""
    rng = random.Random(0)
    return "".join(f'[Event "{rng.getrandbits(256):x}"]\n\n1. e4 e5 *\n\n' for _ in range(games)).encode()


# Compressed files


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_file_gives_the_records_of_a_plain_one(read: Read, ending: str) -> None:
    plain = read(TWO_GAMES.encode(), "games.pgn")
    for name in (f"games.pgn{ending}", f"games.pgn.txt{ending}", f"Games.PGN{ending.upper()}"):
        assert read(COMPRESS[ending](TWO_GAMES.encode()), name) == plain
    assert read(COMPRESS[ending](b'["a"]\n["b"]\n'), f"games.jsonl{ending}") == read(b'["a"]\n["b"]\n', "g.jsonl")


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("games", [2, 2000])
def test_a_compressed_file_that_is_cut_off_anywhere_is_reported_by_its_name(
    read: Read, ending: str, games: int
) -> None:
    content = COMPRESS[ending](noise(games))
    for share in (0.01, 0.3, 0.6, 0.99):
        with pytest.raises(ValueError, match=rf"^games\.pgn\{ending} cannot be decompressed: "):
            read(content[: max(1, int(len(content) * share))], f"games.pgn{ending}")
    with pytest.raises(ValueError, match="cannot be decompressed"):
        read(content[:-1], f"games.pgn{ending}")


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_file_that_is_damaged_is_reported_by_its_name(read: Read, ending: str) -> None:
    content = COMPRESS[ending](noise(2000))
    middle = len(content) // 2
    with pytest.raises(ValueError, match="cannot be decompressed"):
        read(content[:middle] + bytes(100) + content[middle + 100 :], f"games.pgn{ending}")


def test_frames_of_zstandard_follow_each_other_wherever_they_end(read: Read) -> None:
    games = [noise(count) for count in (1, 2000, 2, 500)]
    frames = b"".join(zstandard.compress(content) for content in games)
    assert read(frames, "games.pgn.zst") == read(b"".join(games), "games.pgn")
    with pytest.raises(ValueError, match="it is cut off"):
        read(frames + zstandard.compress(games[0])[:-2], "games.pgn.zst")


@pytest.mark.parametrize("files", [[], [TWO_GAMES.encode()] * 2])
def test_an_archive_must_hold_one_file(read: Read, files: list[bytes]) -> None:
    with pytest.raises(ValueError, match=rf"games\.pgn\.zip .* it holds {len(files)} files, where one is expected"):
        read(zipped(*files), "games.pgn.zip")


# WTHOR


def wthor(*games: bytes, count: int | None = None, year: int = 1999, size: int = 8, puzzles: int = 0) -> bytes:
    """Give a file of WTHOR: a header of 16 bytes, and the games."""
    count = len(games) if count is None else count
    return struct.pack("<4BIHH4B", 20, 1, 2, 3, count, 0, year, size, puzzles, 24, 0) + b"".join(games)


def recorded(moves: list[str], discs: int = 40) -> bytes:
    """Give a game of WTHOR: who met where, the score, and 60 moves without passes."""
    squares = bytes(10 * int(move[1]) + "abcdefgh".index(move[0]) + 1 for move in moves if move != "pass")
    return struct.pack("<3H2B", 7, 1000, 2000, discs, 33) + squares.ljust(60, b"\0")


def random_othello(seed: int) -> list[str]:
    """Give the moves of a whole game."""
    rng, position, moves = random.Random(seed), OTHELLO.new_position(), []
    while legal := position.legal():
        moves.append(position.notation(index := rng.choice(legal)).move)
        position.play(index)
    return moves


def test_a_wthor_game_has_its_moves_its_year_and_its_winner(read: Read) -> None:
    header = bytes([20, 1, 2, 3, 3, 0, 0, 0, 0, 0, 0xE2, 0x07, 8, 0, 24, 0])
    first = bytes([1, 0, 2, 0, 3, 0, 34, 30, 56, 64, 33]) + bytes(57)
    records = read(header + first + recorded(["f5"], discs=32) + recorded(["f5"], discs=0), "WTH_2018.wtb")
    assert records[0].moves == ["f5", "d6", "c3"]
    assert [record.date for record in records] == ["2018-01-01"] * 3
    assert [record.result for record in records] == ["1-0", "1/2-1/2", "0-1"]
    assert [(record.number, record.problem) for record in records] == [(1, None), (2, None), (3, None)]


def test_passes_are_written_where_wthor_leaves_them_out(read: Read, tmp_path: Path) -> None:
    games = [random_othello(seed) for seed in range(40)]
    assert any("pass" in game[:-1] for game in games)
    assert [record.moves for record in read(wthor(*map(recorded, games)), "games.wtb")] == games
    packed, report = pack(OTHELLO, [Source(tmp_path / "games.wtb")])
    assert (report.games, report.plies, report.skipped) == (40, sum(map(len, games)), 0)
    assert packed.tokens[: len(games[0])].max() <= 64


def test_a_wthor_game_with_a_move_that_is_no_square_or_not_legal_costs_no_other(read: Read, tmp_path: Path) -> None:
    gap = recorded(["f5", "d6"])
    gap = gap[:9] + b"\0" + gap[10:11] + bytes([64]) + gap[12:]
    bad = [recorded(["f5"])[:8] + bytes([99]) + bytes(59), gap, recorded(["f5", "f5"]), recorded(["a1", "f5"])]
    records = read(wthor(*bad, recorded(["f5", "d6"])), "games.wtb")
    assert [record.number for record in records] == [1, 2, 3, 4, 5]
    assert "its move 99 is no square: squares are 11 to 88" in str(records[0].problem)
    assert "its move 0 is no square" in str(records[1].problem)
    assert [record.moves for record in records[2:]] == [["f5", "f5"], ["a1", "f5"], ["f5", "d6"]]
    _, report = pack(OTHELLO, [Source(tmp_path / "games.wtb")])
    assert (report.games, report.skipped) == (1, 4)
    assert "games.wtb game 3: move 1: 'f5' is not legal here" in report.problems[2]


def test_a_wthor_file_may_be_compressed(read: Read) -> None:
    content = wthor(recorded(["f5", "f6"]))
    assert read(gzip.compress(content), "games.wtb.gz") == read(content, "games.wtb")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "games.wtb: a WTHOR file begins with a header of 16 bytes; this one is shorter"),
        (wthor()[:15], "begins with a header of 16 bytes"),
        (wthor(recorded(["f5"]), count=2), "games.wtb: this WTHOR file is cut off: it ends in game 2 of 2"),
        (wthor(recorded(["f5"]))[:-1], "it ends in game 1 of 1"),
        (wthor(size=10), "does not hold games on boards of 8 × 8"),
        (wthor(puzzles=1), "does not hold games on boards of 8 × 8"),
    ],
)
def test_a_wthor_file_that_is_cut_off_or_holds_something_else_is_refused(read: Read, content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(content, "games.wtb")


# Xiangqi

START = "rnbakabnr/9/1c5c1/p1p1p1p1p/9/9/P1P1P1P1P/1C5C1/9/RNBAKABNR w - - 0 1"
BOOK = f"""; FILE games/1.pgn
[Game "Chinese Chess"]
[Date "1999年4月5日-7日"]
[Red "王甲"]
[Black ""]
[Result "1-0"]
[FEN "{START}"]

1. 炮二平五  馬８進７
2. 馬二進三 車９平８
3.車一平二

1-0

; FILE games/2.pgn
[Game "Chinese Chess"]
[Date ""]
[FEN "{START}"]

; FILE games/3.pgn
[Game "Chinese Chess"]
[Date "1987"]
[FEN "4kab2/4a4/2R1b1P2/9/p3p4/5p3/P3P1c2/N2Cr4/4A4/3AK4 b - - 0 1"]

1. 車５平８
"""


def as_coordinates(record: Record) -> list[str]:
    """Play a record of xiangqi and write it as coordinates."""
    position, played = Xiangqi().new_position(), []
    for move in record.moves:
        index = position.find(move)
        played.append(position.notation(index).move)
        position.play(index)
    return played


@pytest.mark.parametrize("encoding", ["big5", "gb18030", "utf-8", "utf-8-sig"])
def test_xiangqi_in_chinese_is_read_in_the_encodings_there_are(read: Read, encoding: str) -> None:
    one, two, three = read(gzip.compress(BOOK.encode(encoding)), "book.pgn.txt.gz")
    assert as_coordinates(one) == ["h2e2", "h9g7", "h0g2", "i9h9", "i0h0"]
    assert (one.date, one.result, one.players, one.context) == ("1999-04-05", "1-0", ("王甲", ""), {})
    assert (two.moves, two.date) == ([], None)
    assert (three.problem, three.date) == ("it does not begin from the usual starting position", "1987-01-01")


def test_bytes_of_no_encoding_before_chinese_moves_do_no_harm(read: Read) -> None:
    one, *_ = read("; FILE 實戰\n".encode() + b"; \xff\x80\xfa\n" + BOOK.encode("big5"), "book.pgn")
    assert len(as_coordinates(one)) == 5


def test_xiangqi_in_coordinates_is_read(read: Read) -> None:
    text = '[Event "x"]\n[Red "A"]\n\n1. h2e2 h9g7 2. h0g2 i9h9 3. i0h0\n\n[Event "y"]\n\n1. c3c4 \n'
    one, two = read(zipped(text.encode()), "games_UCI_games.pgn.zip")
    assert as_coordinates(one) == ["h2e2", "h9g7", "h0g2", "i9h9", "i0h0"]
    assert (one.players, two.moves) == (("A", ""), ["c3c4"])


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2024.12.31", "2024-12-31"),
        ("2024-1-2", "2024-01-02"),
        ("2001/2/9  ", "2001-02-09"),
        ("20090831", "2009-08-31"),
        ("1990年10月13日", "1990-10-13"),
        ("１９９０年10月", "1990-10-01"),
        ("2004.11", "2004-11-01"),
        ("1987", "1987-01-01"),
        ("2008-05-06 14:30", "2008-05-06"),
        ("2024.??.??", None),
        ("2024.02.??", None),
        ("2024.02.30", None),
        ("0000.00.00", None),
        ("98-4-3", None),
        ("4/9/1999", None),
        ("", None),
    ],
)
def test_a_date_is_read_however_it_is_written(read: Read, written: str, date: str | None) -> None:
    (record,) = read(f'[Date "{written}"]\n\n1. e4 *\n'.encode(), "games.pgn")
    assert record.date == date


# Games that are recorded more than once


def test_games_with_the_same_moves_are_taken_once_if_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('["a"]\n["b"]\n["a"]\n[]\n[]\nbroken\nbroken\n')
    (tmp_path / "two.jsonl").write_text('["b", "a"]\n{"moves": ["a"], "date": "2000-01-01"}\n["c"]\n')
    seen = Counter[int]()
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    kept = [[record.number for record in first_of_each(read_records(path), seen)] for path in files]
    assert kept == [[1, 2, 4, 5, 6, 7], [1, 3]]
    assert seen.total() - len(seen) == 2


@pytest.mark.parametrize(("distinct", "games", "repeated"), [(True, 2, 3), (False, 5, 0)])
def test_packing_counts_the_games_that_it_leaves_out_because_they_are_repeated(
    tmp_path: Path, distinct: bool, games: int, repeated: int
) -> None:
    lines = ['["炮二平五"]', '["h2e2", "h9g7"]', '["炮二平五"]', '["炮二平五"]', '["h2e2", "h9g7"]', '["h2h1h"]']
    path = tmp_path / "games.jsonl"
    path.write_text("\n".join(lines))
    taken: list[int] = []
    packed, report = pack(Xiangqi(), [Source(path)], 1, lambda record: taken.append(record.number), distinct=distinct)
    assert (len(packed), report.games, report.repeated, report.skipped) == (games, games, repeated, 1)
    assert taken == ([1, 2] if distinct else [1, 2, 3, 4, 5])
    assert ("3 repeated" in str(report)) is distinct
