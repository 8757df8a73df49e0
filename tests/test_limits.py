"""What cannot be answered: each such request gets a problem that says what to change, and none gets a 500."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio.from_thread
import httpx
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.engine import Engine
from service.settings import Settings
from tests.serving import Client, predict_one, read_problem, serving

LIMITS = {"max_body": 100_000, "max_sequences": 16, "max_moves": 2000, "max_plies": 2500}
JSON = {"content-type": "application/json"}
SHUFFLE = ["Nf3", "Nf6", "Ng1", "Ng8"]


class Case(NamedTuple):
    """A request, and what its problem must have in it."""

    path: str
    body: Any
    status: int
    code: str
    says: str
    method: str = "POST"
    headers: dict[str, str] = JSON


def nested(depth: int) -> bytes:
    return b'{"sequences": ' + b"[" * depth + b"]" * depth + b"}"


def with_context(**context: Any) -> dict[str, Any]:
    return {"sequences": [[], {"moves": ["e4"], "context": context}]}


PREDICT, SESSIONS, MOVES = "/predict", "/sessions", "/sessions/here/moves"
BAD_ID = "^[A-Za-z0-9._:~-]{1,128}$"
CASES = {
    "JSON that is cut off": Case(PREDICT, b'{"sequences": [["e4"', 400, "malformed_json", "not JSON"),
    "no JSON at all": Case(SESSIONS, b"moves=e4", 400, "malformed_json", "not JSON"),
    "JSON that goes on": Case(MOVES, b'{"moves": ["e5"]}}', 400, "malformed_json", "not JSON"),
    "bytes that are not UTF-8": Case(PREDICT, b'{"sequences": [["\xff"]]}', 400, "malformed_json", "utf-8"),
    "a number of 5,000 digits": Case(PREDICT, b'{"top_k": ' + b"9" * 5000 + b"}", 400, "malformed_json", "digits"),
    "lists without end": Case(PREDICT, b"[" * 8_000, 400, "malformed_json", "recursion"),
    "lists 8,000 deep": Case(PREDICT, nested(8_000), 400, "malformed_json", "recursion"),
    "lists 40,000 deep": Case(PREDICT, nested(40_000), 413, "too_large", "more members or lists than any request"),
    "lists 500 deep": Case(PREDICT, nested(500), 422, "invalid_request", "body.sequences.0"),
    "no body": Case(PREDICT, b"", 422, "invalid_request", "body: Field required"),
    "no content type": Case(PREDICT, b'{"sequences": [[]]}', 415, "unsupported_media_type", "content-type", headers={}),
    "a form": Case(
        SESSIONS,
        b"moves=e4",
        415,
        "unsupported_media_type",
        "application/json",
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
    "text": Case(MOVES, b"e5", 415, "unsupported_media_type", "content-type", headers={"content-type": "text/plain"}),
    "a list for an object": Case(PREDICT, [["e4"]], 422, "invalid_request", "body: "),
    "null for an object": Case(SESSIONS, None, 422, "invalid_request", "body: "),
    "no sequences": Case(PREDICT, {}, 422, "invalid_request", "body.sequences: Field required"),
    "empty sequences": Case(PREDICT, {"sequences": []}, 422, "invalid_request", "at least 1 item"),
    "one sequence for a list": Case(PREDICT, {"sequences": "e4"}, 422, "invalid_request", "body.sequences: "),
    "a string for a sequence": Case(PREDICT, {"sequences": ["e4"]}, 422, "invalid_request", "body.sequences.0"),
    "a number for a sequence": Case(PREDICT, {"sequences": [[], 1]}, 422, "invalid_request", "body.sequences.1"),
    "a number for a move": Case(PREDICT, {"sequences": [["e4", 5]]}, 422, "invalid_request", "moves.1"),
    "null for a move": Case(MOVES, {"moves": ["e5", None]}, 422, "invalid_request", "body.moves.1"),
    "an empty move": Case(MOVES, {"moves": [""]}, 422, "invalid_request", "at least 1 character"),
    "a move of a kilobyte": Case(MOVES, {"moves": ["e" * 1024]}, 422, "invalid_request", "at most 64"),
    "half a surrogate pair": Case(MOVES, b'{"moves": ["\\ud800"]}', 422, "invalid_request", "body.moves.0"),
    "no moves": Case(MOVES, {"moves": []}, 422, "invalid_request", "at least 1 item"),
    "moves left out": Case(MOVES, {"ply": 1}, 422, "invalid_request", "body.moves: Field required"),
    "a ply below zero": Case(MOVES, {"moves": ["e5"], "ply": -1}, 422, "invalid_request", "body.ply"),
    "a ply that is a string": Case(MOVES, {"moves": ["e5"], "ply": "1"}, 422, "invalid_request", "body.ply"),
    "a ply that is true": Case(MOVES, {"moves": ["e5"], "ply": True}, 422, "invalid_request", "body.ply"),
    "a ply with a fraction": Case(MOVES, {"moves": ["e5"], "ply": 1.5}, 422, "invalid_request", "body.ply"),
    "an unknown member": Case(PREDICT, {"sequences": [[]], "topk": 3}, 422, "invalid_request", "body.topk"),
    "an unknown member of a sequence": Case(
        PREDICT, {"sequences": [{"moves": [], "elo": 3}]}, 422, "invalid_request", "elo: Extra"
    ),
    "an unknown member of a session": Case(SESSIONS, {"id": "x"}, 422, "invalid_request", "body.id"),
    "an unknown member of moves": Case(MOVES, {"moves": ["e5"], "score": True}, 422, "invalid_request", "body.score"),
    "a member with half a surrogate": Case(SESSIONS, b'{"\\ud800": 1}', 422, "invalid_request", "unicode"),
    "top_k of zero": Case(
        PREDICT, {"sequences": [[]], "top_k": 0}, 422, "invalid_request", "greater than or equal to 1"
    ),
    "top_k of 101": Case(SESSIONS, {"top_k": 101}, 422, "invalid_request", "less than or equal to 100"),
    "top_k of null": Case(MOVES, {"moves": ["e5"], "top_k": None}, 422, "invalid_request", "body.top_k"),
    "top_k of a query": Case("/sessions/here?top_k=0", None, 422, "invalid_request", "query.top_k", "GET"),
    "top_k in words": Case("/sessions/here?top_k=five", None, 422, "invalid_request", "query.top_k", "GET"),
    "each_ply that is 1": Case(PREDICT, {"sequences": [[]], "each_ply": 1}, 422, "invalid_request", "body.each_ply"),
    "an unknown model": Case(PREDICT, {"sequences": [[]], "model": "go"}, 404, "unknown_model", "'go'"),
    "an unknown model for a session": Case(SESSIONS, {"model": "go/1"}, 404, "unknown_model", "'go'"),
    "an unknown version": Case(SESSIONS, {"model": "chess/7"}, 404, "unknown_model", "no version '7'"),
    "a model that is a number": Case(SESSIONS, {"model": 1}, 422, "invalid_request", "body.model"),
    "a model of a kilobyte": Case(SESSIONS, {"model": "m" * 1024}, 422, "invalid_request", "body.model"),
    "an unknown context field": Case(PREDICT, with_context(elo=1500), 422, "bad_context", "this game knows black_elo"),
    "a context where there is none": Case(
        SESSIONS, {"model": "othello", "context": {"elo": 1}}, 422, "bad_context", "this game has none"
    ),
    "a rating below zero": Case(PREDICT, with_context(white_elo=-1), 422, "bad_context", "from 0 to 4000"),
    "a rating too high": Case(SESSIONS, {"context": {"black_elo": 4001}}, 422, "bad_context", "from 0 to 4000"),
    "a rating in words": Case(
        PREDICT, with_context(white_elo="1500"), 422, "bad_context", "white_elo is a whole number"
    ),
    "a rating that is true": Case(PREDICT, with_context(white_elo=True), 422, "invalid_request", "white_elo"),
    "a rating with a fraction": Case(SESSIONS, {"context": {"white_elo": 1500.5}}, 422, "invalid_request", "white_elo"),
    "a rating that is no number": Case(
        SESSIONS, b'{"context": {"white_elo": NaN}}', 422, "invalid_request", "white_elo"
    ),
    "a rating that is a list": Case(SESSIONS, {"context": {"white_elo": [1]}}, 422, "invalid_request", "white_elo"),
    "an unknown time control": Case(SESSIONS, {"context": {"time_control": "slow"}}, 422, "bad_context", "bullet"),
    "a context that is a list": Case(SESSIONS, {"context": ["white_elo"]}, 422, "invalid_request", "body.context"),
    "a context with half a surrogate": Case(SESSIONS, b'{"context": {"\\ud800": 1}}', 422, "bad_context", "unknown"),
    "a move in no notation": Case(PREDICT, {"sequences": [["e2 - e4"]]}, 422, "bad_move", "neither UCI (e2e4) nor SAN"),
    "an illegal move": Case(MOVES, {"moves": ["Ke2"]}, 422, "bad_move", "move 0: 'Ke2' is not legal here"),
    "a game of 10,000 moves": Case(PREDICT, {"sequences": [SHUFFLE * 2500]}, 413, "too_large", "at most 2000"),
    "a session of 10,000 moves": Case(SESSIONS, {"moves": SHUFFLE * 2500}, 413, "too_large", "at most 2000"),
    "moves past a session's most": Case(MOVES, {"moves": SHUFFLE * 500}, 413, "too_large", "at most 2000"),
    "too many sequences": Case(PREDICT, {"sequences": [[]] * 17}, 413, "too_large", "17 sequences"),
    "too many moves in all": Case(PREDICT, {"sequences": [SHUFFLE * 350] * 2}, 413, "too_large", "2800 moves in all"),
    "a body that is too large": Case(PREDICT, b" " * 100_001, 413, "too_large", "larger than 100000 bytes"),
    "an id with a blank": Case(SESSIONS, {"session": "a b"}, 422, "invalid_request", BAD_ID),
    "an id with a line's end": Case(SESSIONS, {"session": "game\n"}, 422, "invalid_request", BAD_ID),
    "an id with a slash": Case(SESSIONS, {"session": "a/b"}, 422, "invalid_request", BAD_ID),
    "an empty id": Case(SESSIONS, {"session": ""}, 422, "invalid_request", BAD_ID),
    "an id of 129 letters": Case(SESSIONS, {"session": "a" * 129}, 422, "invalid_request", BAD_ID),
    "an id that is a number": Case(SESSIONS, {"session": 7}, 422, "invalid_request", "body.session"),
    "a bad id to play in": Case("/sessions/a%20b/moves", {"moves": ["e4"]}, 422, "invalid_request", BAD_ID),
    "a bad id to ask for": Case("/sessions/%C3%A9", None, 422, "invalid_request", BAD_ID, "GET"),
    "a bad id to delete": Case(f"/sessions/{'a' * 129}", None, 422, "invalid_request", BAD_ID, "DELETE"),
    "an id that is not UTF-8": Case("/sessions/%ff", None, 422, "invalid_request", BAD_ID, "GET"),
    "an unknown session": Case("/sessions/gone", None, 404, "unknown_session", "'gone'", "GET"),
    "an unknown session to play in": Case("/sessions/gone/moves", {"moves": ["e4"]}, 404, "unknown_session", "'gone'"),
    "an unknown session to delete": Case("/sessions/gone", None, 404, "unknown_session", "'gone'", "DELETE"),
    "an unknown path": Case("/session", {}, 404, "not_found", "Not Found"),
    "a method that is not there": Case(PREDICT, None, 405, "method_not_allowed", "Method Not Allowed", "GET"),
}


@pytest.fixture(scope="module")
def limits(artifacts: Path) -> Settings:
    """Settings with limits that a test can reach."""
    return Settings(artifacts=artifacts, store="memory").model_copy(update=LIMITS)


@pytest.fixture(scope="module")
async def limited(limits: Settings) -> AsyncIterator[Client]:
    """A client of a service with one session, ``here``, in which e4 was played."""
    async with serving(limits) as client:
        await client.ok("POST", "/sessions", {"session": "here", "moves": ["e4"]})
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_request_that_cannot_be_answered_is_told_why(limited: Client, case: Case):
    content = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    if case.method != "POST":
        content = b""
    response = await limited.request(case.method, case.path, content=content, headers=case.headers)
    problem = read_problem(response)
    assert (problem["status"], problem["code"]) == (case.status, case.code)
    assert case.says in problem["detail"]
    assert (await limited.ok("GET", "/sessions/here"))["moves"] == ["e2e4"]


@pytest.mark.anyio
async def test_a_body_without_a_declared_length_is_refused_as_soon_as_it_is_too_large(limited: Client):
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    problem = read_problem(await limited.post("/predict", content=chunks(), headers=JSON))
    assert problem["code"] == "too_large"
    assert sent == 110_000


@pytest.mark.anyio
@pytest.mark.parametrize("length", ["100001", "104857600", "9" * 5000], ids=len)
async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_read(limited: Client, length: str):
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    response = await limited.post("/predict", content=unread(), headers=JSON | {"content-length": length})
    assert read_problem(response)["code"] == "too_large"
    assert response.headers["connection"] == "close"


@pytest.mark.anyio
async def test_a_body_as_large_as_allowed_is_read(limited: Client):
    body = json.dumps({"sequences": [SHUFFLE]}).encode()
    response = await limited.post("/predict", content=body + b" " * (100_000 - len(body)), headers=JSON)
    assert response.status_code == 200


@pytest.mark.anyio
async def test_as_much_as_a_request_may_hold_is_answered(limited: Client):
    body = {"sequences": [SHUFFLE * 500, SHUFFLE * 125, *([[]] * 14)], "top_k": 1}
    answer = await limited.ok("POST", "/predict", body)
    assert [prediction["ply"] for prediction in answer["predictions"]] == [2000, 500] + [0] * 14
    created = await limited.ok("POST", "/sessions", {"moves": SHUFFLE * 499})
    path = f"/sessions/{created['session']}/moves"
    assert (await limited.ok("POST", path, {"moves": SHUFFLE}))["ply"] == 2000
    assert (await limited.problem("POST", path, {"moves": ["Nf3"]}))["code"] == "too_large"


@pytest.mark.anyio
async def test_a_list_of_many_errors_is_refused_for_its_first(limited: Client):
    for body in ({"sequences": [[1] * 20_000]}, {"sequences": [[1]] * 8_000}, {"sequences": [1] * 20_000}):
        assert len((await limited.problem("POST", "/predict", body))["errors"]) == 1


@pytest.mark.anyio
async def test_a_context_of_many_members_is_refused_for_their_number(limited: Client):
    context = {str(number): 1.5 for number in range(17)}
    for path, body in (
        ("/predict", {"sequences": [{"moves": [], "context": context}]}),
        ("/sessions", {"context": context}),
    ):
        problem = await limited.problem("POST", path, body)
        (error,) = problem["errors"]
        assert error["problem"] == "a context has at most 16 members"


@pytest.mark.anyio
async def test_a_stale_request_of_any_length_is_a_conflict(artifacts: Path):
    async with serving(Settings(artifacts=artifacts, store="memory")) as client:
        await client.ok("POST", "/sessions", {"session": "game", "model": "colours", "moves": ["red"]})
        body = {"moves": ["red"] * 500_000, "ply": 0}
        assert (await client.problem("POST", "/sessions/game/moves", body))["ply"] == 1


# Bodies that nobody thought of

Send = Callable[..., httpx.Response]

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["e4", "e2e4", "Nf3", "e5", "chess", "othello", "chess/1", "red", "rapid", "600+5", "d3"])
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)
games = st.lists(st.sampled_from(["e4", "e5", "Nf3", "e2e4", "e7e5", "a3", "d3", "red"]) | leaves, max_size=4)
contexts = st.dictionaries(st.sampled_from(["white_elo", "black_elo", "time_control", "elo"]), leaves, max_size=3)
models = st.sampled_from(["chess", "chess-fp32", "othello", "colours", "chess/1", "chess/2", "go"]) | leaves
sequences = games | st.fixed_dictionaries({"moves": games}, optional={"context": contexts | anything})


def bodies(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Bodies that are nearly right, and some that are not at all."""
    return st.fixed_dictionaries(required, optional=optional | {"extra": leaves}) | anything


predict_bodies = bodies(
    {"sequences": st.lists(sequences, max_size=3) | anything},
    {
        "model": models,
        "top_k": leaves,
        "score": st.booleans() | leaves,
        "each_ply": leaves,
        "legal_only": st.booleans(),
    },
)
session_bodies = bodies({}, {"session": st.text() | leaves, "model": models, "context": contexts, "moves": games})
moves_bodies = bodies({"moves": games}, {"ply": st.integers(-1, 9) | leaves, "top_k": st.integers(0, 101) | leaves})


@pytest.fixture(scope="module")
def send(limits: Settings) -> Iterator[Send]:
    """Send a request and wait for its answer, outside of any event loop."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(limits)) as client,
    ):

        async def post(path: str, body: Any) -> httpx.Response:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return await client.post(path, content=content, headers=JSON)

        yield lambda path, body: portal.call(post, path, body)


def check_answer(response: httpx.Response) -> None:
    """An answer, or a problem that is the sender's and says so."""
    if not response.is_success:
        read_problem(response)


fuzzed = hypothesis_settings(max_examples=150, deadline=None)


@fuzzed
@given(body=predict_bodies)
@example(body={"sequences": [["e4"]], "top_k": 10**400})
@example(body={"sequences": [{"moves": [], "context": {"white_elo": float("inf")}}]})
def test_no_body_of_predict_breaks_the_service(send: Send, body: Any):
    check_answer(send("/predict", body))


@fuzzed
@given(body=session_bodies)
def test_no_body_of_a_session_breaks_the_service(send: Send, body: Any):
    check_answer(send("/sessions", body))


@fuzzed
@given(model=st.sampled_from(["chess", "othello", "colours"]), body=moves_bodies)
def test_no_body_of_moves_breaks_the_service(send: Send, model: str, body: Any):
    session = send("/sessions", {"model": model}).json()["session"]
    check_answer(send(f"/sessions/{session}/moves", body))


@fuzzed
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_break_the_service(send: Send, content: bytes):
    check_answer(send("/predict", content))


@pytest.mark.anyio
async def test_a_prediction_of_which_one_sequence_finds_no_room_leaves_none_of_the_others_running(settings: Settings):
    steps = 0
    step = Engine.step

    def counting(self: Engine, *arguments: Any) -> Any:
        nonlocal steps
        steps += len(arguments[0])
        return step(self, *arguments)

    games = [["red"] * 400 for _ in range(3)]
    async with serving(settings.model_copy(update={"max_queue": 900})) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "step", counting)
            problem = await client.problem("POST", "/predict", {"model": "colours", "sequences": games})
            assert (problem["status"], problem["code"]) == (429, "overloaded")
            await predict_one(client, "colours", ["red"])
    assert steps < 20
