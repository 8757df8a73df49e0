"""Fuzzers: tensors, game records and sessions that nobody meant are read or refused, in little time and memory.

They begin with what is right, and change, repeat and cut it. ``make conformance`` tries a hundred times as much.
"""

import gzip
import hashlib
import io
import json
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nextply_client.pgn import read_pgn as read_pgn_of_client

from model.games.records import read_records
from model.games.records.pgn import read_pgn
from model.games.records.wthor import read_wthor
from service.errors import Problem
from service.sessions import blob
from service.settings import Settings
from service.v2 import messages
from service.v2.encodings import unpack
from service.v2.repository import INPUTS, OUTPUTS
from tests.serving import Client, serving

LONG = settings.get_current_profile_name() == "long"
FUZZ = settings(
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
KIB, MIB = 1 << 10, 1 << 20


@contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Hold what is done in the block to so many seconds of processor time, and bytes at once."""
    tracemalloc.start()
    begun = time.process_time()
    try:
        yield
        took, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < seconds, f"{took:.1f} s"
    assert peak < memory, f"{peak} bytes"


class Change(NamedTuple):
    """A part that is lost, replaced, moved, or repeated up to thousands of times; places are shares of the whole."""

    begin: float
    end: float
    to: float
    part: bytes | None
    times: int
    keep: bool

    def of(self, data: bytes, most: int) -> bytes:
        begin, end = sorted((int(self.begin * len(data)), int(self.end * len(data))))
        part = data[begin:end] if self.part is None else self.part
        kept = data if self.keep else data[:begin] + data[end:]
        place = int(self.to * len(kept))
        return (kept[:place] + part * min(self.times, most // (len(part) or 1)) + kept[place:])[:most]


def changes(words: list[bytes]) -> st.SearchStrategy[list[Change]]:
    share = st.floats(0, 1)
    part = st.none() | st.sampled_from(words) | st.binary(max_size=8)
    times = st.sampled_from([0, 1, 1, 2, 50, 3000])
    return st.lists(st.builds(Change, share, share, share, part, times, st.booleans()), min_size=1, max_size=4)


def changed(data: bytes, made: list[Change], most: int = 64 * KIB) -> bytes:
    for change in made:
        data = change.of(data, most)
    return data


# --- tensors ----------------------------------------------------------------------------------------------------------


def body(*moves: str) -> bytes:
    raw = b"".join(struct.pack("<I", len(move)) + move.encode() for move in moves)
    tensor = {"name": "MOVES", "datatype": "BYTES", "shape": [len(moves)], "parameters": {"binary_data_size": len(raw)}}
    top_k = {"name": "TOP_K", "datatype": "INT64", "shape": [1], "data": [3]}
    head = {"id": "a", "inputs": [top_k, tensor], "outputs": [{"name": "PLY"}], "parameters": {"sequence_id": 4}}
    return json.dumps(head).encode() + raw


BODY = body("e4", "e5", "Nf3")
HEAD = BODY.index(b"\x02\x00\x00\x00")
WORDS = [
    b'{"',
    b'":[',
    b"[",
    b"]",
    b"}",
    b"-1",
    b"9" * 30,
    b"1e999",
    b"null",
    b'"\\ud800"',
    b"\xff\xff\xff\x7f",
    b"MOVES",
]
PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
LIMIT = 64 * KIB


@FUZZ
@given(
    changes(WORDS).map(partial(changed, BODY)),
    st.sampled_from(sorted(PACKED)),
    st.sampled_from(sorted(PACKED)),
    st.integers(0, 40),
    st.none() | st.integers(-10, 10).map(lambda off: str(HEAD + off)) | st.just("9" * 5000) | st.text(max_size=3),
)
@example(bytes(100 * MIB), "gzip", "gzip", 0, None)
@example(bytes(100 * MIB), "deflate", "deflate", 0, None)
def test_a_body_is_read_or_refused(plain: bytes, packed_as: str, said: str, cut: int, length: str | None):
    sent = PACKED[packed_as](plain)
    sent = sent[: max(0, len(sent) - cut)] if cut > 30 else sent
    del plain
    with bounded(seconds=2, memory=40 * LIMIT):
        refused = read_or_refuse(sent, said, length)
    if refused is not None:
        assert 400 <= refused.status < 500
        assert len(orjson.dumps(refused.body())) < 10 * KIB


def read_or_refuse(sent: bytes, said: str, length: str | None) -> Problem | None:
    try:
        request, behind = messages.read(unpack(sent, said, LIMIT), length)
        messages.read_outputs(request, OUTPUTS)
        assert "MOVES" in messages.read_inputs(request, behind, INPUTS)
    except Problem as problem:
        return problem
    return None


# --- game records -----------------------------------------------------------------------------------------------------

GAME = (
    '[Event "a"]\n[WhiteElo "1500"]\n[Date "2024.03.09"]\n\n1. e4 { [%clk 0:10:00] } e5 (1... c5 2. Nf3) 2. Nf3 1-0\n\n'
)
PIECES = [
    *(
        "[",
        "]",
        '"',
        "{",
        "}",
        "(",
        ")",
        ";",
        "$",
        "%",
        "!",
        ".",
        "1",
        "1.",
        "1-0",
        "*",
        " ",
        "\n",
        "\n\n",
        "\x0b",
        "\r",
    ),
    *('[A "', '[A "x"]', '[WhiteElo "', "9" * 5000, "٤", "²", "{[%clk 9", ":", "e4", "1. e4\n", "平", "\ufeff", "\x00"),
    *('[Date "0000.99"]', '[TimeControl "1+1"]\n', '[Variant "x"]\n'),
]
TAGS = [word.encode() for word in PIECES]
texts = st.lists(
    st.tuples(st.sampled_from(PIECES) | st.text(max_size=5), st.sampled_from([1, 1, 1, 3, 1000])), max_size=12
).map(lambda parts: "".join(part * times for part, times in parts)[: 30 * KIB])


def stream(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))  # type: ignore[arg-type]


@FUZZ
@given(texts | changes(TAGS).map(lambda made: changed(GAME.encode(), made).decode(errors="replace")))
@example('[A "x" ' * 15_000)
@example("e4\n" * 8000 + "1. e4\n" * 8000)
@example(f'[WhiteElo "{"9" * 5000}"]\n\n1. e4 {{ [%clk {"9" * 5000}:0:0] }}')
def test_what_is_no_pgn_costs_no_more_than_itself(text: str):
    with bounded(seconds=10, memory=8 * MIB + 40 * len(text)):
        found = [*read_pgn(stream(f"{text}\n\n{GAME}".encode()))]
        of_client = [*read_pgn_of_client(io.StringIO(f"{text}\n\n{GAME}"))]
    for records in (found, of_client):
        assert [record.number for record in records] == list(range(1, len(records) + 1))
        assert not any(record.moves for record in records if record.problem is not None)
        # A game behind it is read as ever, unless it was told to begin from elsewhere.
        if "Variant" not in text and "FEN" not in text:
            assert records[-1].moves[-3:] == ["e4", "e5", "Nf3"]
            assert records[-1].context["white_elo"] == 1500


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("games", content)
    return file.getvalue()


HEADER = struct.pack("<4xI2xH2B2x", 2, 2020, 8, 0)
RECORDS = {
    ".pgn": GAME.encode() * 2,
    ".jsonl": b'["a", "b"]\n{"moves": ["c"], "context": {"white_elo": 3}, "date": "2024-12-31"}\n',
    ".wtb": HEADER + 2 * (bytes(6) + b"\x20\x20" + bytes([56, 64, 33, 36, 46]) + bytes(55)),
}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".zip": zipped,
}


@FUZZ
@given(
    st.sampled_from(sorted(RECORDS)),
    st.sampled_from(sorted(COMPRESSED)),
    st.just([]) | changes([*TAGS, b'{"moves":', b"[", b"null"]),
    st.just([]) | changes(TAGS),
)
def test_a_damaged_file_of_records_says_so(
    tmp_path: Path, kind: str, packed: str, inside: list[Change], outside: list[Change]
):
    content = changed(COMPRESSED[packed](changed(RECORDS[kind], inside)), outside)
    path = tmp_path / f"games{kind}{packed}"
    path.write_bytes(content)
    # What is damaged may repeat a record a million times, which is right, and takes its time.
    with bounded(seconds=10, memory=40 * MIB):
        refused = problem_of(path)
    assert refused is None or path.name in refused


def problem_of(path: Path) -> str | None:
    """Read the first records of a file, or say why it cannot be read."""
    try:
        for record in islice(read_records(path), 1000):
            assert record.problem or all(isinstance(move, str) for move in record.moves)
    except ValueError as error:
        return str(error)
    return None


LINE = b'["e4", "e5", "Nf3"]\n'
ENDLESS = {
    ".pgn": (GAME.encode() + b'[Event "b"]\n', b"e4 " * KIB, b"\n\n" + GAME.encode()),
    ".jsonl": (LINE + b'["e4', b'", "e4' * KIB, b'"]\n' + LINE),
}


@pytest.mark.parametrize("kind", sorted(ENDLESS))
@pytest.mark.parametrize("packed", [".gz", ".zst", ".zip"])
def test_a_file_that_unpacks_to_very_much_takes_little_memory(tmp_path: Path, kind: str, packed: str):
    path = tmp_path / f"games{kind}{packed}"
    before, moves, behind = ENDLESS[kind]
    path.write_bytes(COMPRESSED[packed](before + moves * (16 * KIB) + behind))
    with bounded(seconds=60, memory=40 * MIB):
        first, endless, last = read_records(path)
    assert (endless.moves, endless.problem) == ([], "it is longer than any game")
    assert first.moves == last.moves == ["e4", "e5", "Nf3"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_whose_parts_may_unpack_to_very_much_is_refused(tmp_path: Path, method: int):
    path = tmp_path / "games.pgn.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("games", bytes(100 * MIB))
    with pytest.raises(ValueError, match="than by deflate"), bounded(seconds=1, memory=MIB):
        list(read_records(path))


def test_a_base_that_promises_more_games_than_it_has_is_cut_off():
    with pytest.raises(ValueError, match="game 1 of 4294967295"), bounded(seconds=1, memory=MIB):
        list(read_wthor(stream(struct.pack("<4xI2xH2B2x", (1 << 32) - 1, 2020, 8, 0))))


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def client(artifacts: Path) -> AsyncIterator[Client]:
    async with serving(Settings(artifacts=artifacts, store="memory")) as client:
        yield client


@pytest.fixture(scope="module")
async def exported(client: Client) -> bytes:
    """A session, as it is taken out."""
    opening = {"session": "a", "moves": ["e4", "e5"], "context": {"white_elo": 1500}}
    await client.ok("POST", "/sessions", opening)
    return (await client.get("/sessions/a/state")).content


HEADS: list[Any] = [
    *([], {}, 3, None, "abc", [1, 2, 3], ["chess", "1"], {"chess": 1, "1": 2, "x": 3}, ["chess", 1, {}]),
    *(
        ["chess", "1", {name: value}]
        for name in ("white_elo", "x", "")
        for value in (-1, 1e9, "a", None, [[]], {"a": 1})
    ),
    *(["chess", version, {}] for version in ("", "2", "../1", "1\x00", "\u2028", "9" * 500)),
    *([name, "1", {}] for name in ("", "../chess", "othello", "chess/1", "chess" * 500, "\x00")),
]


def signed(content: bytes) -> bytes:
    """Give a blob the check sum that fits it."""
    return content + hashlib.sha256(content).digest()


def with_head(exported: bytes, head: Any) -> bytes:
    """Give a blob another head: model, version and context."""
    content, written = exported[:-32], orjson.dumps(head)
    at = content.index(b'["chess"')
    old = content[at : content.index(b"]", at) + 1]
    content = content.replace(old, written, 1)
    magic = content.index(b"\n") + 1
    name, log, cache = struct.unpack_from("<HII", content, magic)
    sizes = struct.pack("<HII", name, log + len(written) - len(old), cache)
    log_at = magic + len(sizes) + name
    plies = struct.pack("<H", len(written))
    content = content[:magic] + sizes + content[magic + len(sizes) :]
    return signed(content[: log_at + 2] + plies + content[log_at + 4 :])


@pytest.mark.anyio
@FUZZ
@given(
    st.sampled_from(HEADS) | changes([b"\xff" * 4, bytes(4), b"nextply session\n", b"[]", b"0" * 200]),
    st.booleans(),
    st.sampled_from(["", "?rebuild=true"]),
)
async def test_a_blob_is_a_session_or_refused(client: Client, exported: bytes, made: Any, sign: bool, rebuild: str):
    if isinstance(made, list) and made and isinstance(made[0], Change):
        content = signed(changed(exported[:-32], made)) if sign else changed(exported, made)
    else:
        content = with_head(exported, made)
    with bounded(seconds=2, memory=2 * MIB), suppress(ValueError):
        blob.unpack(content)
    response = await client.put(f"/sessions/b/state{rebuild}", content=content)
    if response.is_success:
        await client.ok("GET", "/sessions/b")
        await client.ok("DELETE", "/sessions/b")
    else:
        assert response.status_code in (404, 409, 413, 422), response.text
        assert response.json()["code"] != "invalid_request"


@pytest.mark.anyio
async def test_the_head_of_a_blob_is_what_the_fuzzer_changes(client: Client, exported: bytes):
    same = with_head(exported, ["chess", "1", {"white_elo": 1500}])
    assert same == exported
    response = await client.put("/sessions/c/state", content=same)
    assert response.status_code == 201, response.text
