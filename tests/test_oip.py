"""The Open Inference Protocol v2 with Triton's extensions as a table: each endpoint, each field, each kind of error."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from service.settings import Settings
from tests.serving import Client, clear, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def service(artifacts: Path) -> AsyncIterator[Client]:
    async with serving(Settings(artifacts=artifacts, store="memory")) as client:
        yield client


@pytest.fixture
async def client(service: Client) -> AsyncIterator[Client]:
    """A client of one service for all tests here; what a test leaves is cleared away."""
    yield service
    await clear(service)


def asking(*moves: str, **parameters: Any) -> dict[str, Any]:
    moves_input = {"name": "MOVES", "datatype": "BYTES", "shape": [len(moves)], "data": list(moves)}
    return {"inputs": [moves_input], "parameters": parameters}


# --- what is answered -------------------------------------------------------------------------------------------------

TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}


def of(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe an object by its members."""
    members = required | (optional or {})
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


def many(item: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least}


SHAPE = many({"type": "integer", "minimum": -1}, 1)
DATATYPE = {"enum": ["BYTES", "INT64", "FP32"]}
TENSOR = of({"name": TEXT, "datatype": DATATYPE, "shape": SHAPE})
METADATA = of(
    {"name": TEXT, "versions": many(TEXT, 1), "platform": TEXT, "inputs": many(TENSOR, 1), "outputs": many(TENSOR, 1)}
)
CONFIGURED = {"name": TEXT, "data_type": {"enum": ["TYPE_STRING", "TYPE_INT64", "TYPE_FP32"]}, "dims": SHAPE}
CONFIG = of(
    {
        "name": TEXT,
        "platform": TEXT,
        "backend": TEXT,
        "version_policy": of({"all": of({})}),
        "max_batch_size": NUMBER,
        "input": many(of(CONFIGURED, {"optional": FLAG}), 1),
        "output": many(of(CONFIGURED), 1),
        "sequence_batching": of(
            {"max_sequence_idle_microseconds": NUMBER, "oldest": of({"max_candidate_sequences": NUMBER})}
        ),
        "model_transaction_policy": of({"decoupled": FLAG}),
        "parameters": {"type": "object", "additionalProperties": of({"string_value": TEXT})},
    }
)
DURATION = of({"count": NUMBER, "ns": NUMBER})
DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
STATISTICS = of(
    {
        "model_stats": many(
            of(
                {
                    "name": TEXT,
                    "version": TEXT,
                    "last_inference": NUMBER,
                    "inference_count": NUMBER,
                    "execution_count": NUMBER,
                    "inference_stats": of(dict.fromkeys(DURATIONS, DURATION)),
                    "response_stats": {"type": "object"},
                    "batch_stats": {"type": "array"},
                    "memory_usage": {"type": "array"},
                }
            ),
            1,
        )
    }
)
STATE = {"enum": ["READY", "UNAVAILABLE"]}
INDEX = many(of({"name": TEXT, "version": TEXT, "state": STATE, "reason": TEXT}), 1)
OUTPUT = of({"name": TEXT, "datatype": DATATYPE, "shape": SHAPE, "data": {"type": "array"}})
SEQUENCE = of({"sequence_id": {"const": 5}, "sequence_start": {"const": True}, "sequence_end": FLAG, "session": TEXT})
ANSWER = {"model_name": TEXT, "model_version": TEXT, "outputs": many(OUTPUT, 4)}
MODEL_READY = of({"name": {"const": "chess"}, "ready": {"const": True}})

CONFORMANCE: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("GET", "", None, of({"name": TEXT, "version": TEXT, "extensions": many(TEXT)})),
    ("GET", "/health/live", None, of({"live": {"const": True}})),
    ("GET", "/health/ready", None, of({"live": {"const": True}, "ready": {"const": True}})),
    ("GET", "/models/chess", None, METADATA),
    ("GET", "/models/chess/versions/1", None, METADATA),
    ("GET", "/models/chess/ready", None, MODEL_READY),
    ("GET", "/models/chess/versions/1/ready", None, MODEL_READY),
    ("GET", "/models/chess/config", None, CONFIG),
    ("GET", "/models/chess/versions/1/config", None, CONFIG),
    ("GET", "/models/stats", None, STATISTICS),
    ("GET", "/models/chess/stats", None, STATISTICS),
    ("GET", "/models/chess/versions/1/stats", None, STATISTICS),
    ("POST", "/repository/index", None, INDEX),
    ("POST", "/repository/index", {"ready": True}, INDEX),
    ("POST", "/repository/models/chess/load", None, of({})),
    ("POST", "/repository/models/chess/load", {"parameters": {}}, of({})),
    ("POST", "/repository/models/chess/unload", {"parameters": {"unload_dependents": False}}, of({})),
    ("POST", "/models/chess/infer", asking("e4"), of(ANSWER)),
    ("POST", "/models/chess/versions/1/infer", asking("e4"), of(ANSWER)),
    ("POST", "/models/chess/infer", asking("e4") | {"id": "mine"}, of(ANSWER | {"id": {"const": "mine"}})),
    (
        "POST",
        "/models/chess/infer",
        asking("e4", sequence_id=5, sequence_start=True, sequence_end=False),
        of(ANSWER | {"parameters": SEQUENCE}),
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "schema"), CONFORMANCE, ids=lambda value: str(value)[:45])
async def test_every_endpoint_answers_as_the_protocol_has_it(
    client: Client, method: str, path: str, body: Any, schema: dict[str, Any]
):
    response = await client.request(method, f"/v2{path}", json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(response.json())


# --- what is read -----------------------------------------------------------------------------------------------------

INFER = "/v2/models/chess/infer"
START = {"sequence_id": 5, "sequence_start": True}


def tensor(**members: Any) -> dict[str, Any]:
    """Give a request whose input has other members than usual."""
    return {"inputs": [{"name": "MOVES", "datatype": "BYTES", "shape": [2], "data": ["e4", "e5"]} | members]}


def top_k(**members: Any) -> dict[str, Any]:
    return {"inputs": [*tensor()["inputs"], {"name": "TOP_K", "datatype": "INT64", "shape": [1]} | members]}


# Each field of a request: a request with it, and a part of the answer that shows it was read, None where nothing can.
FIELDS: list[tuple[str, dict[str, Any], Any]] = [
    ("id", tensor() | {"id": "mine"}, ("id", "mine")),
    ("inputs.name", tensor(name="MOVES"), ("PLY", [2])),
    ("inputs.datatype", tensor(datatype="BYTES"), ("PLY", [2])),
    ("inputs.shape", tensor(shape=[1, 2]), ("PLY", [2])),
    ("inputs.data", tensor(data=["d4", "d5"]), ("PLY", [2])),
    ("inputs.data, nested", tensor(shape=[1, 2], data=[["e4", "e5"]]), ("PLY", [2])),
    ("inputs.data, none", tensor(shape=[0], data=[]), ("PLY", [0])),
    ("inputs.data of INT64", top_k(data=[1]), ("shape of NEXT_MOVES", [1])),
    ("inputs.parameters", tensor(parameters={"mine": 1}), ("PLY", [2])),
    ("outputs.name", tensor() | {"outputs": [{"name": "PLY"}]}, ("names", ["PLY"])),
    ("outputs, none", tensor() | {"outputs": []}, ("names", ["NEXT_MOVES", "PROBABILITIES", "SURPRISAL", "PLY"])),
    (
        "outputs.parameters.binary_data",
        tensor() | {"outputs": [{"name": "PLY", "parameters": {"binary_data": False}}]},
        ("PLY", [2]),
    ),
    ("a member that nobody knows", tensor() | {"model_name": "chess", "mine": {}}, ("PLY", [2])),
    ("parameters.sequence_id, a number", asking("e4", **START), ("session", "chess:5")),
    (
        "parameters.sequence_id, the largest",
        asking("e4", **START | {"sequence_id": (1 << 64) - 1}),
        ("session", f"chess:{(1 << 64) - 1}"),
    ),
    ("parameters.sequence_id, text", asking("e4", **START | {"sequence_id": "b"}), ("session", "chess:b")),
    ("parameters.sequence_id, none", asking("e4", sequence_id=0), ("session", None)),
    ("parameters.sequence_start", asking("e4", **START), ("sequence_start", True)),
    ("parameters.sequence_end", asking("e4", **START, sequence_end=True), ("sequence_end", True)),
    ("parameters.priority", asking("e4", priority=3), ("PLY", [1])),
    ("parameters.timeout", asking("e4", timeout=20_000_000), ("PLY", [1])),
    ("parameters.binary_data_output", asking("e4", binary_data_output=False), ("PLY", [1])),
    ("parameters of our own", asking("e4", white_elo=1500, time_control="300+0"), ("PLY", [1])),
]


@pytest.mark.parametrize(("body", "shows"), [field[1:] for field in FIELDS], ids=[field[0] for field in FIELDS])
async def test_every_field_of_a_request_is_read(client: Client, body: dict[str, Any], shows: tuple[str, Any]):
    answer = await client.ok("POST", INFER, body)
    outputs = {output["name"]: output for output in answer["outputs"]}
    told = {name: output["data"] for name, output in outputs.items()}
    told |= {f"shape of {name}": output["shape"] for name, output in outputs.items()}
    told |= answer.get("parameters", {}) | {"names": list(outputs)} | {"id": answer.get("id")}
    assert told.get(shows[0]) == shows[1]


async def test_every_output_may_be_binary_and_says_its_size(client: Client):
    response = await client.post(INFER, json=asking("e4", "e5", binary_data_output=True))
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    outputs = httpx.Response(200, content=response.content[:length]).json()["outputs"]
    sizes = {output["name"]: output["parameters"]["binary_data_size"] for output in outputs}
    assert not any("data" in output for output in outputs)
    assert sum(sizes.values()) == len(response.content) - length
    assert (sizes["PLY"], sizes["SURPRISAL"], sizes["PROBABILITIES"]) == (8, 2 * 4, 5 * 4)


# --- what is refused --------------------------------------------------------------------------------------------------

OF_A_MODEL = ("", "/ready", "/config", "/stats")
NOT_THERE = [
    *(("GET", f"/models/nobody{path}") for path in OF_A_MODEL),
    *(("GET", f"/models/chess/versions/9{path}") for path in OF_A_MODEL),
    ("POST", "/models/nobody/infer"),
    ("POST", "/models/chess/versions/9/infer"),
    ("POST", "/repository/models/nobody/load"),
    ("POST", "/repository/models/nobody/unload"),
    ("GET", "/nothing"),
]
REFUSED: list[tuple[str, str, int, Any]] = [
    *((method, path, 404, None) for method, path in NOT_THERE),
    ("DELETE", "/models/chess", 405, None),
    ("GET", "/models/chess/infer", 405, None),
    ("POST", "/health/live", 405, None),
    *(("POST", f"/repository/{path}", 400, b"{") for path in ("index", "models/chess/load", "models/chess/unload")),
    ("POST", "/repository/index", 422, b'{"ready":1}'),
    ("POST", "/repository/models/chess/load", 422, b'{"parameters":{"config":"{}"}}'),
    ("POST", "/models/chess/infer", 400, b"{"),
    ("POST", "/models/chess/infer", 422, b"{}"),
    ("POST", "/models/chess/infer", 422, b'{"inputs":[]}'),
    ("POST", "/models/chess/infer", 413, bytes(5 << 20)),
]


@pytest.mark.parametrize(("method", "path", "status", "content"), REFUSED, ids=lambda value: str(value)[:40])
async def test_every_error_is_one_member_in_words(client: Client, method: str, path: str, status: int, content: Any):
    response = await client.request(method, f"/v2{path}", content=content)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert isinstance(response.json()["error"], str)
    assert response.json()["error"]


async def test_the_openapi_document_has_every_endpoint_and_all_that_it_answers(client: Client):
    document = (await client.get("/openapi.json")).json()
    documented = {(method, path) for path, calls in document["paths"].items() for method in calls if "/v2" in path}
    served = {(method.lower(), f"/v2{path}") for method, path, _, _ in CONFORMANCE}
    filled = {(method, path.replace("{model}", "chess").replace("{version}", "1")) for method, path in documented}
    assert filled == served
    names = {"Request-Timeout-Ms", "Content-Encoding", "Inference-Header-Content-Length", "model"}
    infer = document["paths"]["/v2/models/{model}/infer"]["post"]
    assert {one["name"] for one in infer["parameters"]} == names
    assert set(infer["responses"]) == {
        "200",
        *["400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "503"],
    }
    for status, answer in infer["responses"].items():
        if status != "200":
            assert answer["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
