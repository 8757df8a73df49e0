"""The Open Inference Protocol at /v2: every endpoint and field, sequences as sessions, and what goes wrong in words."""

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from service.deadline import within_deadline
from service.errors import Overloaded, StoreFailed
from service.keeper import Keeper
from service.predictor import Predictor
from service.settings import Settings
from service.v2.sequences import sequence_of, session_id
from tests.serving import Client, clear, running, serving

pytestmark = pytest.mark.anyio

INFER = "/v2/models/chess/infer"


@pytest.fixture(scope="module")
async def service(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with serving(Settings(artifacts=artifacts, data_dir=tmp_path_factory.mktemp("data"))) as client:
        yield client


@pytest.fixture
async def client(service: Client) -> AsyncIterator[Client]:
    """A client of one service for all tests here; what a test leaves is cleared away."""
    yield service
    await clear(service)


def moves_input(*moves: str) -> dict[str, Any]:
    return {"name": "MOVES", "datatype": "BYTES", "shape": [len(moves)], "data": list(moves)}


def asking(*moves: str, top_k: int | None = None, **parameters: Any) -> dict[str, Any]:
    inputs = [moves_input(*moves)]
    if top_k is not None:
        inputs.append({"name": "TOP_K", "datatype": "INT64", "shape": [1], "data": [top_k]})
    return {"inputs": inputs, "parameters": parameters}


async def infer(client: Client, *moves: str, model: str = "chess", **options: Any) -> dict[str, Any]:
    """Ask for what must succeed; give the outputs by name, and the answer itself."""
    answer = await client.ok("POST", f"/v2/models/{model}/infer", asking(*moves, **options))
    return {output["name"]: output["data"] for output in answer["outputs"]} | {"answer": answer}


async def refused(client: Client, status: int, *moves: str, path: str = INFER, **options: Any) -> str:
    """Ask for what must fail; give the words of the error."""
    return error_of(await client.post(path, json=asking(*moves, **options)), status)


def error_of(response: httpx.Response, status: int) -> str:
    """Give the words of an answer that must be an error as the protocol has it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    words: str = response.json()["error"]
    assert "Traceback" not in words
    assert words
    return words


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_answers_are_as_metadata_and_config_say(client: Client):
    metadata = await client.ok("GET", "/v2/models/chess")
    config = await client.ok("GET", "/v2/models/chess/config")
    answer = (await infer(client, "e4", "e5", "Nf3", top_k=4))["answer"]
    assert [(out["name"], out["datatype"]) for out in answer["outputs"]] == [
        (out["name"], out["datatype"]) for out in metadata["outputs"]
    ]
    assert {out["name"]: out["shape"] for out in answer["outputs"]} == {
        "NEXT_MOVES": [4],
        "PROBABILITIES": [4],
        "SURPRISAL": [3],
        "PLY": [1],
    }
    for of_metadata, of_config in (("inputs", "input"), ("outputs", "output")):
        assert [(one["name"], one["shape"]) for one in metadata[of_metadata]] == [
            (one["name"], one["dims"]) for one in config[of_config]
        ]
    assert config["parameters"]["context"]["string_value"] == "white_elo,black_elo,time_control"


async def test_the_server_says_what_it_can(client: Client):
    server = await client.ok("GET", "/v2")
    assert server["name"] == "nextply"
    assert {"sequence", "binary_tensor_data", "statistics", "model_repository"} <= set(server["extensions"])


async def test_without_a_sequence_nothing_is_kept_and_the_bits_are_those_of_predict(client: Client):
    game = {"moves": ["e4", "c5"], "context": {"white_elo": 1500}}
    body = {"model": "chess", "sequences": [game], "top_k": 7, "score": True}
    (native,) = (await client.ok("POST", "/predict", body))["predictions"]
    for no_sequence in ({}, {"sequence_id": 0}, {"sequence_id": ""}):
        found = await infer(client, "e4", "c5", top_k=7, white_elo=1500, **no_sequence)
        assert found["NEXT_MOVES"] == [one["move"] for one in native["next"]]
        assert found["PROBABILITIES"] == np.float32([one["probability"] for one in native["next"]]).tolist()
        assert found["SURPRISAL"] == native["surprisal"]
        assert found["PLY"] == [2]
        assert "parameters" not in found["answer"]
    assert (await client.ok("GET", "/sessions"))["sessions"] == []


# --- binary tensors and what is asked for -----------------------------------------------------------------------------


def binary(*moves: bytes, **members: Any) -> tuple[bytes, dict[str, str]]:
    """Give a body with the moves behind its JSON, and its header."""
    raw = b"".join(struct.pack("<I", len(move)) + move for move in moves)
    tensor = {"name": "MOVES", "datatype": "BYTES", "shape": [1, len(moves)]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}], **members}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head))}


async def test_tensors_may_stand_behind_the_json(client: Client):
    outputs = [
        {"name": "PLY", "parameters": {"binary_data": False}},
        {"name": "PROBABILITIES", "parameters": {"binary_data": True}},
        {"name": "NEXT_MOVES"},
    ]
    body, headers = binary(b"e4", b"e5", outputs=outputs, parameters={"binary_data_output": True})
    response = await client.post(INFER, content=body, headers=headers)
    assert response.status_code == 200, response.text
    length = int(response.headers["inference-header-content-length"])
    answer, behind = json.loads(response.content[:length]), response.content[length:]
    usual = await infer(client, "e4", "e5")
    assert [out["name"] for out in answer["outputs"]] == ["PLY", "PROBABILITIES", "NEXT_MOVES"]
    ply, probabilities, following = answer["outputs"]
    assert ply["data"] == [2]
    size = probabilities["parameters"]["binary_data_size"]
    assert np.frombuffer(behind[:size], "<f4").tolist() == usual["PROBABILITIES"]
    assert behind[size:] == b"".join(struct.pack("<I", 4) + move.encode() for move in usual["NEXT_MOVES"])
    assert following["parameters"] == {"binary_data_size": len(behind) - size}


async def test_only_what_is_asked_for_is_given(client: Client):
    body = asking("e4") | {"outputs": [{"name": "PLY"}]}
    answer = await client.ok("POST", INFER, body)
    assert answer["outputs"] == [{"name": "PLY", "datatype": "INT64", "shape": [1], "data": [1]}]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_bodies_and_answers_may_be_compressed(client: Client, encoding: str, pack: Any):
    body, headers = binary(b"e4")
    headers |= {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    response = await client.post(INFER, content=pack(body), headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-encoding"] == encoding
    assert response.json()["outputs"][-1]["data"] == [1]
    plain = await client.post(INFER, json=asking("e4"), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == response.json()


# --- sequences --------------------------------------------------------------------------------------------------------


async def test_a_sequence_is_a_session_with_all_its_powers(client: Client):
    began = await infer(client, "e4", "e5", sequence_id=7, sequence_start=True, sequence_end=False, white_elo=1500)
    assert began["PLY"] == [2]
    assert len(began["SURPRISAL"]) == 2
    assert began["answer"]["parameters"]["session"] == "chess:7"
    went_on = await infer(client, "Nf3", "Nc6", "Bb5", sequence_id=7, sequence_start=False, sequence_end=False)
    assert went_on["PLY"] == [5]
    session = await client.ok("GET", "/sessions/chess:7")
    assert session["moves"] == ["e2e4", "e7e5", "g1f3", "b8c6", "f1b5"]
    assert session["context"] == {"white_elo": 1500}
    assert session["surprisal"] == began["SURPRISAL"] + went_on["SURPRISAL"]
    await client.ok("POST", "/sessions/chess:7/takeback", {"to_ply": 2})
    await client.ok("POST", "/sessions/chess:7/fork", {"session": "chess:table~205"})
    assert (await infer(client, "Nf3", sequence_id=7))["PLY"] == [3]
    assert (await infer(client, "d4", sequence_id="table 5"))["PLY"] == [3]
    ended = await infer(client, "Nc6", sequence_id=7, sequence_end=True)
    assert ended["PLY"] == [4]
    assert (await client.get("/sessions/chess:7")).status_code == 404


async def test_no_moves_at_all_show_where_a_sequence_stands(client: Client):
    began = await infer(client, sequence_id="a", sequence_start=True)
    assert (began["PLY"], began["SURPRISAL"]) == ([0], [])
    assert len(began["NEXT_MOVES"]) == 5
    played = await infer(client, "e4", sequence_id="a", ply=0)
    stands = await infer(client, sequence_id="a", ply=1)
    for name in ("PLY", "NEXT_MOVES", "PROBABILITIES"):
        assert stands[name] == played[name]
    assert stands["SURPRISAL"] == []
    assert "is at ply 1, not 4" in await refused(client, 409, sequence_id="a", ply=4)


async def test_a_start_on_a_running_sequence_begins_anew(client: Client):
    for moves in (["e4", "e5"], ["d4"]):
        found = await infer(client, *moves, sequence_id=3, sequence_start=True, black_elo=1200 + len(moves))
        assert found["PLY"] == [len(moves)]
    session = await client.ok("GET", "/sessions/chess:3")
    assert (session["moves"], session["context"]) == (["d2d4"], {"black_elo": 1201})


async def test_a_start_with_a_bad_move_leaves_what_is_running(client: Client):
    await infer(client, "e4", sequence_id=3, sequence_start=True)
    words = await refused(client, 422, "e4", "e4", sequence_id=3, sequence_start=True)
    assert words == "move 1: 'e4' is not legal here"
    assert (await infer(client, sequence_id=3))["PLY"] == [1]


async def test_in_strict_mode_a_start_on_a_running_sequence_is_refused(settings: Settings):
    async with running(settings.model_copy(update={"strict_sequences": True})) as app, Client(app) as client:
        await infer(client, "e4", sequence_id=3, sequence_start=True)
        words = await refused(client, 409, "d4", sequence_id=3, sequence_start=True)
        assert "sequence 3 is running: end it first" in words
        assert (await infer(client, "e5", sequence_id=3, sequence_end=True))["PLY"] == [2]
        await infer(client, "d4", sequence_id=3, sequence_start=True)


async def test_starts_of_one_sequence_at_the_same_time_leave_one(client: Client):
    starts = (infer(client, move, sequence_id=3, sequence_start=True) for move in ("e4", "d4", "c4"))
    found = await asyncio.gather(*starts, return_exceptions=True)
    assert any(isinstance(one, dict) for one in found)
    assert (await infer(client, sequence_id=3))["PLY"] == [1]


async def test_models_numbers_and_texts_do_not_get_into_each_others_way(client: Client):
    await infer(client, "e4", sequence_id=42, sequence_start=True)
    await infer(client, "d4", "d5", sequence_id="42", sequence_start=True)
    await infer(client, "red", "red", "blue", model="colours", sequence_id=42, sequence_start=True)
    assert (await infer(client, sequence_id=42))["PLY"] == [1]
    assert (await infer(client, sequence_id="42"))["PLY"] == [2]
    assert (await infer(client, model="colours", sequence_id=42))["PLY"] == [3]


async def test_with_its_ply_a_request_can_be_sent_again(client: Client):
    await infer(client, sequence_id=1, sequence_start=True)
    answers = [(await infer(client, "e4", sequence_id=1, ply=0))["answer"] for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert "ply 1" in await refused(client, 409, "d4", sequence_id=1, ply=0)


async def test_a_sequence_that_expired_says_so(settings: Settings):
    short = settings.model_copy(update={"session_ttl": 1, "state_ttl": 1, "sweep_seconds": 0.05})
    async with running(short) as app, Client(app) as client:
        await infer(client, "e4", sequence_id=1, sequence_start=True)
        async with asyncio.timeout(10):
            while (await client.ok("GET", "/sessions"))["sessions"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert "has expired" in await refused(client, 404, "e5", sequence_id=1)
        assert (await infer(client, "e4", sequence_id=1, sequence_start=True))["PLY"] == [1]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
sequences = st.integers(1, (1 << 64) - 1) | names | st.integers(0, 1000).map(str)


@given(names, sequences)
def test_a_session_tells_its_model_and_sequence(model: str, sequence: int | str):
    id_ = session_id(model, sequence)
    assert sequence_of(id_) == (model, sequence)
    assert len(id_) <= 128
    assert set(id_) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:~-")


# --- what goes wrong --------------------------------------------------------------------------------------------------

BAD: list[tuple[Any, int, str]] = [
    (asking("e4", "Ke3"), 422, "move 1: 'Ke3' is not legal here"),
    (asking("e4", elo=3), 422, "unknown context field 'elo'"),
    (asking("e4", white_elo=True), 422, "context.white_elo"),
    (asking("e4", top_k=0), 422, "top_k"),
    (asking(""), 422, "moves.0"),
    (asking("e4", sequence_id=9), 404, "no sequence 9 of model 'chess' is running"),
    (asking("e4", sequence_id="nine"), 404, "must set sequence_start"),
    (asking("e4", sequence_id=-1, sequence_start=True), 422, "from 1 to"),
    (asking("e4", sequence_id=1 << 64, sequence_start=True), 422, "from 1 to"),
    (asking("e4", sequence_id=1.5, sequence_start=True), 422, "a whole number or text"),
    (asking("e4", sequence_id=True, sequence_start=True), 422, "a whole number or text"),
    (asking("e4", sequence_id="x" * 200, sequence_start=True), 422, "sequence_id is too long"),
    (asking("e4", sequence_id=1, sequence_start=1), 422, "sequence_start is true or false"),
    (asking("e4", sequence_id=1, sequence_start=True, ply=2), 422, "starts at ply 0"),
    (asking("e4", sequence_id=1, white_elo=1500), 422, "given with sequence_start"),
    (asking("e4", sequence_start=True), 422, "go with a sequence_id"),
    (asking("e4", sequence_end=True), 422, "go with a sequence_id"),
    (asking("e4", ply=0), 422, "go with a sequence_id"),
    (asking("e4", sequence_id=1, ply="0"), 422, "ply is how many moves"),
    (asking("e4", timeout="soon"), 422, "microseconds"),
    (asking("e4", binary_data_output=1), 422, "binary_data_output is true or false"),
    (asking("e4", **{str(n): n for n in range(100)}), 422, "at most 64"),
    (asking("e4") | {"id": 7}, 422, "id: "),
    (asking("e4") | {"outputs": [{"name": "LOGITS"}]}, 422, "no output is named 'LOGITS': there are NEXT_MOVES"),
    (asking("e4") | {"outputs": [{"name": "PLY"}] * 2}, 422, "asked for twice"),
    (asking("e4") | {"outputs": [{"name": "PLY", "parameters": {"classification": 3}}]}, 422, "classification"),
    (asking("e4") | {"outputs": [{"name": "PLY", "parameters": {"binary_data": 3}}]}, 422, "PLY: binary_data"),
    (asking("e4") | {"outputs": [{"name": "PLY", "parameters": {"shared_memory_region": "r"}}]}, 422, "shared memory"),
    ({"inputs": []}, 422, "the input MOVES is missing"),
    ({"inputs": [moves_input("e4")] * 2}, 422, "MOVES is given twice"),
    ({"inputs": [moves_input("e4") | {"name": "GAME"}]}, 422, "no input is named 'GAME': there are MOVES, TOP_K"),
    ({"inputs": [moves_input("e4") | {"datatype": "INT64"}]}, 422, "MOVES is BYTES, not 'INT64'"),
    ({"inputs": [moves_input("e4") | {"shape": [2]}]}, 422, "do not fit together"),
    ({"inputs": [moves_input("e4") | {"shape": [1, 1, 1]}]}, 422, "shape [n] or [1,n]"),
    ({"inputs": [moves_input("e4", "e5") | {"shape": [2, 1]}]}, 422, "shape [n] or [1,n]"),
    ({"inputs": [moves_input("e4") | {"shape": [-1]}]}, 422, "inputs.0.shape.0"),
    ({"inputs": [moves_input("e4") | {"data": [4]}]}, 422, "element 0 is not a string"),
    ({"inputs": [moves_input("e4") | {"data": None}]}, 422, "MOVES has no data"),
    ({"inputs": [moves_input("e4") | {"parameters": {"binary_data_size": 6}}]}, 422, "as well"),
    ({"inputs": [moves_input() | {"data": None, "parameters": {"binary_data_size": 6}}]}, 422, "0 bytes are left"),
    ({"inputs": [moves_input("e4") | {"parameters": {"shared_memory_region": "r"}}]}, 422, "shared memory"),
    ({}, 422, "inputs: Field required"),
    ([], 422, "object"),
    (asking(*["e4"] * 3000), 413, "a game holds at most 2000"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD, ids=lambda value: str(value)[-60:])
async def test_what_is_wrong_is_said_in_words_and_nothing_is_kept(client: Client, body: Any, status: int, words: str):
    assert words in error_of(await client.post(INFER, json=body), status)
    assert (await client.ok("GET", "/sessions"))["sessions"] == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"", {}, 400, "not JSON"),
        (b"{", {}, 400, "not JSON"),
        (b"\xff", {}, 400, "not JSON"),
        (b"[" * 100_000, {}, 400, "recursion"),
        (b'{"inputs":[]}xx', {"Inference-Header-Content-Length": "13"}, 422, "2 bytes behind the JSON belong to no"),
        (b"{}", {"Inference-Header-Content-Length": "3"}, 400, "how many bytes of the body are JSON"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, 400, "how many bytes of the body are JSON"),
        (b"{}", {"Inference-Header-Content-Length": "9" * 5000}, 400, "how many bytes of the body are JSON"),
        (b"{}", {"Content-Encoding": "br"}, 415, "gzip or deflate"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "cannot be unpacked"),
        (gzip.compress(bytes(5 << 20), mtime=0), {"Content-Encoding": "gzip"}, 413, "unpacked, is larger"),
        (bytes(5 << 20), {}, 413, "larger than 4194304 bytes"),
        (b"{}", {"Request-Timeout-Ms": "0"}, 422, "Request-Timeout-Ms"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_body_that_cannot_be_read_is_refused(
    client: Client, content: bytes, headers: dict[str, str], status: int, words: str
):
    assert words in error_of(await client.post(INFER, content=content, headers=headers), status)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """The body of a request with binary tensors, with some bytes changed, lost or added."""
    body = bytearray(binary(b"e4", b"e5", parameters={"sequence_id": 1, "sequence_start": True})[0])
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(body)


@settings_of_hypothesis(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    mangled(),
    st.sampled_from([gzip.compress, zlib.compress, bytes]),
    st.fixed_dictionaries(
        {},
        optional={
            "Inference-Header-Content-Length": st.integers(-1, 300).map(str) | st.just("x"),
            "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", ""]),
            "Accept-Encoding": st.sampled_from(["gzip", "deflate;q=0", "*", ";;"]),
        },
    ),
)
async def test_whatever_is_sent_is_answered(client: Client, body: bytes, pack: Any, headers: dict[str, str]):
    response = await client.post(INFER, content=pack(body), headers=headers)
    if response.status_code != 200:
        assert response.status_code in (400, 404, 415, 422)
        error_of(response, response.status_code)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/models/nobody", 404, "no model is named 'nobody'"),
        ("GET", "/models/chess/versions/9", 404, "has no version '9'"),
        ("GET", "/models/chess/versions/9/ready", 404, "has no version '9'"),
        ("GET", "/models/nobody/ready", 404, "nobody"),
        ("GET", "/models/nobody/config", 404, "nobody"),
        ("GET", "/models/nobody/stats", 404, "nobody"),
        ("POST", "/models/nobody/infer", 404, "nobody"),
        ("POST", "/repository/models/nobody/load", 404, "nobody"),
        ("POST", "/repository/models/nobody/unload", 404, "nobody"),
        ("PUT", "/models/chess/infer", 405, "Method Not Allowed"),
        ("GET", "/systemsharedmemory/status", 404, "Not Found"),
    ],
)
async def test_what_is_not_there_is_not_found(client: Client, method: str, path: str, status: int, words: str):
    assert words in error_of(await client.request(method, f"/v2{path}"), status)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("index", b"[]"),
        ("index", b"{"),
        ("index", b'{"ready":1}'),
        ("models/chess/load", b'{"parameters":{"config":""}}'),
    ],
)
async def test_a_request_to_the_repository_that_is_wrong_is_refused(client: Client, path: str, body: bytes):
    response = await client.post(f"/v2/repository/{path}", content=body)
    error_of(response, response.status_code)
    assert response.status_code in (400, 422)


async def test_too_much_says_when_to_come_again(client: Client, monkeypatch: pytest.MonkeyPatch):
    async def refuse(*_: Any) -> None:
        raise Overloaded("9 steps wait already", 1500)

    monkeypatch.setattr(Predictor, "predict", refuse)
    response = await client.post(INFER, json=asking("e4"))
    assert error_of(response, 429) == "9 steps wait already"
    assert response.headers["retry-after"] == "2"


async def test_admission_answers_as_the_protocol_has_it(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    begun = asyncio.Event()

    async def wait(*_: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(Predictor, "predict", wait)
    async with running(settings.model_copy(update={"max_requests": 1})) as app, Client(app) as client:
        first = asyncio.create_task(client.post(INFER, json=asking("e4")))
        await begun.wait()
        response = await client.post(INFER, json=asking("e4"))
        assert "requests run already" in error_of(response, 429)
        assert "retry-after" in response.headers
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_timeout_is_a_deadline_and_never_a_longer_one(client: Client, monkeypatch: pytest.MonkeyPatch):
    async def wait(*_: Any) -> None:
        with within_deadline():
            await asyncio.sleep(60)

    monkeypatch.setattr(Predictor, "predict", wait)
    assert "within 3 ms" in await refused(client, 503, "e4", timeout=2001)
    headers = {"Request-Timeout-Ms": "20"}
    response = await client.post(INFER, json=asking("e4", timeout=9_000_000), headers=headers)
    assert "within 20 ms" in error_of(response, 503)


async def test_a_bug_of_ours_tells_nothing_of_the_inside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def fail(*_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Predictor, "predict", fail)
    async with running(settings) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            response = await client.post(INFER, json=asking("e4"))
    assert "out of order" not in error_of(response, 500)


async def test_other_paths_keep_their_errors(client: Client):
    problem = await client.problem("POST", "/predict", {"sequences": [["e5"]]})
    assert problem["code"] == "bad_move"
    response = await client.get("/v20")
    assert response.headers["content-type"] == "application/problem+json"


# --- operations -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def ready_or_not(settings: Settings) -> AsyncIterator[tuple[Any, Client]]:
    async with running(settings) as app, Client(app) as client:
        assert (await client.get("/v2/health/ready")).status_code == 200
        yield app, client


async def test_a_service_that_is_to_stop_is_live_and_not_ready(settings: Settings):
    async with ready_or_not(settings) as (app, client):
        app.state.stopping.announce()
        assert "about to stop" in error_of(await client.get("/v2/health/ready"), 400)
        assert (await client.get("/v2/health/live")).status_code == 200


async def test_without_its_store_a_service_is_not_ready(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    async def fail(_: Keeper) -> None:
        raise StoreFailed("the session store failed; ask again")

    async with ready_or_not(settings) as (_, client):
        monkeypatch.setattr(Keeper, "ready", fail)
        assert "store failed" in error_of(await client.get("/v2/health/ready"), 400)


async def test_a_model_is_unloaded_and_loaded_again(client: Client):
    await infer(client, "e4", sequence_id=1, sequence_start=True)
    await client.ok("POST", "/v2/repository/models/chess/unload")
    assert "was unloaded" in error_of(await client.get("/v2/models/chess/ready"), 404)
    assert "was unloaded" in await refused(client, 404, "e5", sequence_id=1)
    index = await client.ok("POST", "/v2/repository/index")
    assert {"name": "chess", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"} in index
    ready = await client.ok("POST", "/v2/repository/index", {"ready": True})
    assert [one["name"] for one in ready] == [one["name"] for one in index if one["state"] == "READY"]
    assert "chess" not in [one["name"] for one in (await client.ok("GET", "/v2/models/stats"))["model_stats"]]
    await client.ok("POST", "/sessions/chess:1/moves", {"moves": ["e5"]})
    await client.ok("POST", "/v2/repository/models/chess/load")
    assert (await infer(client, "Nf3", sequence_id=1))["PLY"] == [3]


async def test_where_several_processes_serve_none_unloads_alone(settings: Settings):
    async with running(settings.model_copy(update={"workers": 2})) as app, Client(app) as client:
        words = error_of(await client.post("/v2/repository/models/chess/unload"), 409)
        assert words.startswith("2 processes serve 'chess'")
        assert (await client.get("/v2/models/chess/ready")).status_code == 200


async def test_inferences_are_counted_by_model_and_outcome(client: Client):
    async def counted(path: str) -> dict[str, Any]:
        (found,) = (await client.ok("GET", f"/v2/models/{path}/stats"))["model_stats"]
        return found

    before, other = await counted("chess/versions/1"), await counted("othello")
    for _ in range(3):
        await infer(client, "e4")
    await refused(client, 422, "e5")
    after = await counted("chess")
    stats = before["inference_stats"], after["inference_stats"]
    assert [now["count"] - then["count"] for then, now in zip(*(s.values() for s in stats), strict=True)][:2] == [3, 1]
    assert after["inference_count"] == before["inference_count"] + 3
    assert stats[1]["success"]["ns"] > stats[0]["success"]["ns"]
    assert after["last_inference"] > before["last_inference"]
    assert await counted("othello") == other
