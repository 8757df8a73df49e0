"""Real processes that are stopped or doubled; tests/soak kills them."""

import asyncio
import http.client
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.serving import Process

pytestmark = pytest.mark.anyio


async def test_two_processes_play_in_the_same_session(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data")
    answers: list[Any] = []
    with Process(settings) as one, Process(settings) as other:
        async with httpx.AsyncClient(base_url=one.url) as first, httpx.AsyncClient(base_url=other.url) as second:
            await first.post("/sessions", json={"session": "game", "model": "colours"})
            sent = [client.post("/sessions/game/moves", json={"moves": ["red"]}) for client in (first, second) * 12]
            answers = [response.json() for response in await asyncio.gather(*sent) if response.status_code == 200]
            session = (await second.get("/sessions/game")).json()
            assert (await first.get("/sessions/game")).json() == session
    assert len(answers) >= 12
    assert sorted(answer["ply"] for answer in answers) == list(range(1, session["ply"] + 1))
    in_order = sorted(answers, key=lambda answer: answer["ply"])
    assert [answer["surprisal"][0] for answer in in_order] == session["surprisal"]


def test_a_stop_lets_a_request_that_has_begun_be_answered(artifacts: Path, tmp_path: Path):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data", drain_seconds=30)
    body = json.dumps({"moves": ["e4"], "ply": 0}).encode()
    with Process(settings) as process:
        httpx.post(f"{process.url}/sessions", json={"session": "game"}).raise_for_status()
        with socket.create_connection(tuple(process.url.removeprefix("http://").split(":"))) as connection:
            connection.sendall(
                b"POST /sessions/game/moves HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
                b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            process.terminate()
            connection.sendall(body)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            assert json.loads(response.read())["ply"] == 1
        _, written = process.wait()
    assert "Traceback" not in written
    with Process(settings) as process:
        assert httpx.get(f"{process.url}/sessions/game").json()["moves"] == ["e2e4"]


def test_a_body_without_end_is_cut_off_and_the_service_goes_on(artifacts: Path):
    with Process(Settings(artifacts=artifacts, store="memory", max_body=10_000)) as process:
        with socket.create_connection(tuple(process.url.removeprefix("http://").split(":"))) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
                b"transfer-encoding: chunked\r\n\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 3
            )
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 413
            assert json.loads(response.read())["code"] == "too_large"
            assert connection.recv(1) == b""
        assert httpx.get(f"{process.url}/health/ready").json() == {"status": "ready"}
