"""What is answered without FastAPI is answered as FastAPI would, and what is odd about a request FastAPI says."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.predictor import Predictor
from service.routes import Json
from service.settings import Settings
from tests.serving import Client, running, serving

pytestmark = pytest.mark.anyio

# A content type that says the same and is left to FastAPI.
PLAIN, SPELT_OUT = "application/json", "application/json; charset=utf-8"

BODIES: list[Any] = [
    {"sequences": [["e4", "e5"]]},
    {"sequences": [["e4", "e5"], {"moves": ["d4"], "context": {"white_elo": 1500}}], "top_k": 2, "score": True},
    {"sequences": [["e4", "Nf3", "e5"]]},
    {"sequences": [{"moves": ["e4"], "context": {"elo": 1500}}]},
    {"sequences": [["e4"]], "model": "nobody"},
    {"sequences": [["e4"]], "top_k": 0},
    {"sequences": [["e4"]], "top_k": 2.0},
    {"sequences": [["e4"]], "top_k": "2"},
    {"sequences": [["e4"]], "top_k": True},
    {"sequences": [["e4"]], "unknown": 1},
    {"sequences": []},
    {"sequences": "e4"},
    {},
    [],
    None,
]


async def both(client: Client, path: str, content: bytes) -> tuple[Any, Any]:
    answers = []
    for kind in (PLAIN, SPELT_OUT):
        response = await client.post(path, content=content, headers={"content-type": kind})
        answers.append((response.status_code, response.headers["content-type"], response.json()))
    return answers[0], answers[1]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: json.dumps(body)[:40])
async def test_a_prediction_is_the_same_either_way(client: Client, body: Any):
    hot, usual = await both(client, "/predict", json.dumps(body).encode())
    assert hot == usual


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"sequences":[["e4"]]}x', b"\xff", b"NaN", '{"sequences":[["ä"]]}'.encode()]
)
async def test_a_body_that_is_no_json_is_the_same_either_way(client: Client, content: bytes):
    hot, usual = await both(client, "/predict", content)
    assert hot == usual
    assert hot[0] in (400, 422)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["e4", "red", ""]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["moves", "ply", "top_k"]), values),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(["moves", "ply", "top_k", "other"]), json_values))
async def test_moves_that_are_odd_are_the_same_either_way(client: Client, body: Any):
    hot, usual = await both(client, "/sessions/nobody/moves", json.dumps(body).encode())
    assert hot == usual


async def test_a_move_is_played_and_told_the_same_either_way(client: Client):
    answers = []
    for session, kind in (("hot", PLAIN), ("usual", SPELT_OUT)):
        await client.ok("POST", "/sessions", {"session": session})
        headers = {"content-type": kind}
        for move in ("e4", "e5", "Ke3"):
            response = await client.post(f"/sessions/{session}/moves", json={"moves": [move]}, headers=headers)
            answers.append(json.loads(response.text.replace(f'"{session}"', '"game"')))
        steps = {"steps": [{"session": session, "moves": ["Nf3"]}, {"session": "nobody", "moves": ["e4"]}]}
        response = await client.post("/steps", json=steps, headers=headers)
        answers.append(json.loads(response.text.replace(f'"{session}"', '"game"')))
    assert answers[:4] == answers[4:]
    assert answers[2]["code"] == "bad_move"


async def test_which_requests_need_no_fastapi(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """The others are known by what their route does in its own function."""
    seen: list[str] = []
    render = Json.render

    def rendered(self: Json, content: Any) -> bytes:
        seen.append("usual")
        return render(self, content)

    monkeypatch.setattr(Json, "render", rendered)
    async with serving(settings) as client:
        body = b'{"sequences":[["e4"]]}'
        for headers, usual in (
            ({"content-type": PLAIN}, False),
            ({"content-type": SPELT_OUT}, True),
            ({"content-type": PLAIN, "transfer-encoding": "chunked"}, True),
        ):
            seen.clear()
            chunks = iter([body]) if "transfer-encoding" in headers else None

            async def sent(chunks: Any = chunks) -> Any:
                for chunk in chunks:
                    yield chunk

            response = await client.post("/predict", content=sent() if chunks else body, headers=headers)
            assert response.status_code == 200, response.text
            assert bool(seen) == usual


async def test_a_bug_of_ours_is_logged_and_tells_nothing_of_the_inside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def fail(*_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Predictor, "play", fail)
    async with running(settings) as app:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            response = await client.post("/sessions/game/moves", json={"moves": ["e4"]})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "out of order" not in response.text
    assert "out of order" in caplog.text
