"""The log as lines of JSON: each says when, what, for which request and which session; none says a move or a key."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.engine import Engine
from service.process.logs import JsonLines
from service.settings import Settings
from tests.serving import Client, Process, running

pytestmark = pytest.mark.anyio

SECRET = "a-key-that-nobody-may-see"


def written(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonLines().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def a_record(message: str, *arguments: object, **options: Any) -> logging.LogRecord:
    return logging.LogRecord("nextply", logging.WARNING, __file__, 1, message, arguments, None, **options)


def test_a_line_says_when_how_bad_who_and_what():
    before = datetime.now(UTC)
    line = written(a_record("worker %d\nended", 7))
    assert line.keys() == {"time", "level", "logger", "process", "message"}
    assert (line["level"], line["logger"], line["message"]) == ("warning", "nextply", "worker 7\nended")
    assert abs(datetime.fromisoformat(line["time"]) - before).total_seconds() < 60


def test_a_trace_of_calls_stays_on_the_line():
    record = a_record("it failed")
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = written(record)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: why")


class Kept(logging.Handler):
    """Keeps what is logged as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(written(record))


@pytest.fixture
def kept() -> Any:
    handler = Kept()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)


FAILING: list[tuple[Callable[[Client, dict[str, str]], Any], str | None]] = [
    (lambda client, id_: client.post("/sessions/table/moves", json={"moves": ["red"]}, headers=id_), "table"),
    (lambda client, id_: client.post("/sessions/table/peek", json={"moves": ["red"]}, headers=id_), "table"),
    (lambda client, id_: client.post("/predict", json={"model": "colours", "sequences": [["red"]]}, headers=id_), None),
    (
        lambda client, id_: client.post(
            "/v2/models/colours/infer",
            json={
                "inputs": [{"name": "MOVES", "datatype": "BYTES", "shape": [1], "data": ["red"]}],
                "parameters": {"sequence_id": 9, "sequence_start": True},
            },
            headers=id_,
        ),
        "colours:9",
    ),
]


@pytest.mark.parametrize(("ask", "session"), FAILING)
async def test_what_goes_wrong_is_logged_with_the_request_and_its_session(
    settings: Settings,
    kept: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[..., Any],
    session: str | None,
):
    def broken(*_: object) -> None:
        raise RuntimeError("the graph broke")

    async with running(settings) as app, Client(app) as client:
        await client.ok("POST", "/sessions", {"session": "table", "model": "colours"})
        monkeypatch.setattr(Engine, "step", broken)
        assert (await ask(client, {"x-request-id": "caller-1"})).status_code == 503
    (line,) = [line for line in kept if line["level"] == "error"]
    assert line["request"] == "caller-1"
    assert line.get("session") == session
    assert "the graph broke" in line["exception"]


def test_a_service_logs_json_from_its_first_line_to_its_last(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path, workers=2, log_format="json", access_log=True)
    headers = {"x-request-id": "caller-1", "authorization": f"Bearer {SECRET}", "x-api-key": SECRET}
    with Process(settings) as process, httpx.Client(base_url=process.url, headers=headers) as client:
        client.post("/sessions", json={"session": "board-7"}).raise_for_status()
        client.post(f"/sessions/board-7/moves?key={SECRET}", json={"moves": ["g1h3"]}).raise_for_status()
        client.post("/sessions/board-7/moves", json={"moves": ["h8h1"]})
        process.terminate()
        code, text = process.wait()
    lines = [json.loads(line) for line in text.splitlines()]
    assert code == 0
    assert lines[-1]["message"]
    moves = [line for line in lines if line.get("path") == "/sessions/board-7/moves"]
    about = {"method": "POST", "request": "caller-1", "session": "board-7", "logger": "nextply.access", "level": "info"}
    assert [(line["status"], about.items() <= line.items()) for line in moves] == [(200, True), (422, True)]
    assert all(line["milliseconds"] > 0 for line in moves)
    for hidden in ("g1h3", "Nh3", "h8h1", SECRET):
        assert hidden not in text


def test_without_being_asked_for_json_there_are_lines_of_text(artifacts: Path):
    with Process(Settings(artifacts=artifacts, store="memory", access_log=True)) as process:
        httpx.get(f"{process.url}/models").raise_for_status()
        process.terminate()
        _, text = process.wait()
    assert " INFO nextply.access: GET /models 200 in " in text
