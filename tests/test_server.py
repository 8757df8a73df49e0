"""Real processes: workers that share a port and are replaced, clients that leave, and a stop that goes in order."""

import itertools
import json
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service.process.listening import AddressError, Neighbours, listen
from service.settings import Settings
from tests.serving import Process, read_problem, start
from tests.test_startup import refused

PATIENCE = 30


def eventually(holds: Callable[[], Any], patience: float = PATIENCE) -> float:
    """Wait until something holds; give the seconds that took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < patience
        time.sleep(0.01)
    return time.monotonic() - begun


def post(url: str, body: Any) -> socket.socket:
    """Send a request and give its connection, without waiting for an answer."""
    content, parts = json.dumps(body).encode(), urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port))
    head = f"POST {parts.path} HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    return connection


def answers(url: str) -> bool:
    """Say whether the service answers a new connection."""
    try:
        return httpx.get(f"{url}/health/live", timeout=1).is_success
    except httpx.TransportError:
        return False


def computes(worker: psutil.Process) -> bool:
    """Say whether a process is at work, and not only now and then."""
    before = worker.cpu_times()
    time.sleep(0.3)
    after = worker.cpu_times()
    return after.user + after.system - before.user - before.system > 0.05


@pytest.fixture
def workers(settings: Settings) -> Settings:
    """Settings of a service with two workers."""
    return Settings(**settings.model_dump(exclude_unset=True), workers=2)


def test_every_worker_serves_every_session_on_the_same_port(workers: Settings):
    with Process(workers) as process:
        first, second = process.workers()
        httpx.post(f"{process.url}/sessions", json={"session": "game", "model": "colours"}).raise_for_status()
        for ply, asleep in enumerate((first, second, first)):
            asleep.suspend()
            played = httpx.post(f"{process.url}/sessions/game/moves", json={"moves": ["red"], "ply": ply})
            assert played.json()["ply"] == ply + 1
            asleep.resume()


def test_connections_dealt_out_to_a_worker_that_hangs_are_taken_by_the_other(workers: Settings):
    with Process(workers) as process:
        asleep, _ = process.workers()
        asleep.suspend()
        # All of them going to the one that is awake by chance: one time in a million.
        assert all(answers(process.url) for _ in range(20))
        asleep.resume()


def test_connections_are_dealt_out_to_all_sockets_of_a_port_and_nobody_else_gets_it():
    sockets = listen("127.0.0.1", 0, count=3)
    (name,) = {listening.getsockname() for listening in sockets}
    connections = [socket.create_connection(name) for _ in range(60)]
    neighbours = [Neighbours([listening]) for listening in sockets]
    try:
        assert [neighbour.overdue() for neighbour in neighbours] == [[]] * 3
        taken = [neighbour.overdue() for neighbour in neighbours]
        assert all(taken)
        assert sum(map(len, taken)) == 60
        assert not any(neighbour.overdue() for neighbour in neighbours)
        with pytest.raises(AddressError, match="in use"):
            listen(*name, count=3)
    finally:
        for connection in itertools.chain(connections, *taken):
            connection.close()
        for neighbour in neighbours:
            neighbour.close()


def test_a_worker_that_is_killed_is_replaced_and_the_other_answers_meanwhile(workers: Settings):
    with Process(workers) as process:
        killed, kept = process.workers()
        killed.kill()
        assert answers(process.url)
        eventually(lambda: len(process.workers()) == 2 and killed not in process.workers())
        kept.suspend()
        eventually(lambda: answers(process.url))
        kept.resume()


def test_all_workers_stop_with_the_service(workers: Settings):
    with Process(workers) as process:
        children = process.workers()
        process.terminate()
        code, written = process.wait()
    assert code == 0
    assert "Traceback" not in written
    assert "ERROR" not in written
    assert not any(child.is_running() for child in children)


def test_no_worker_outlives_a_supervisor_that_is_killed(workers: Settings):
    with Process(workers) as process:
        children = process.workers()
        process.kill()
        eventually(lambda: not any(child.is_running() for child in children))


def test_a_worker_that_cannot_start_is_tried_again_ever_more_slowly(workers: Settings, artifacts: Path, tmp_path: Path):
    root = tmp_path / "artifacts"
    shutil.copytree(artifacts, root)
    with Process(workers.model_copy(update={"artifacts": root, "watch_seconds": 0})) as process:
        root.rename(tmp_path / "away")
        process.workers()[0].kill()
        time.sleep(3)
        (tmp_path / "away").rename(root)
        eventually(lambda: len(process.workers()) == 2)
        assert answers(process.url)
        process.terminate()
        code, written = process.wait()
    assert code == 0
    assert 1 <= written.count("could not start") <= 4
    assert "Traceback" not in written


def test_what_keeps_all_workers_from_starting_is_said_in_one_line(tmp_path: Path):
    code, line = refused(Settings(artifacts=tmp_path, workers=2), "--port=0")
    assert (code, line) == (1, f"nextply: {tmp_path} holds no <name>/<version> folder with a model\n")


def test_workers_that_would_share_no_sessions_are_refused():
    code, line = refused(Settings.model_construct(), "--workers=2", "--store=memory")
    assert (code, line) == (2, "nextply: workers share no memory: choose another store, or one worker\n")


@pytest.mark.parametrize("count", [1, 2])
def test_an_address_that_is_taken_is_named(settings: Settings, count: int):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = refused(settings, f"--port={port}", f"--workers={count}")
    assert (code, line) == (1, f"nextply: cannot listen on 127.0.0.1 port {port}: Address already in use\n")


@pytest.mark.parametrize("count", [1, 2])
def test_a_stop_turns_readiness_off_and_goes_on_serving_for_a_while(settings: Settings, count: int):
    chosen = Settings(**settings.model_dump(exclude_unset=True), workers=count, drain_delay=2)
    with Process(chosen) as process, httpx.Client(base_url=process.url) as client:
        assert client.get("/health/ready").json() == {"status": "ready"}
        process.terminate()
        eventually(lambda: client.get("/health/ready").status_code == 503, patience=1)
        assert read_problem(client.get("/health/ready"))["code"] == "draining"
        assert httpx.post(f"{process.url}/sessions", json={"session": "late"}).status_code == 201
        assert answers(process.url)
        code, written = process.wait()
    assert code == 0
    assert "Traceback" not in written
    assert not answers(process.url)


def test_a_stop_closes_websockets_with_1012_and_ends_event_streams(settings: Settings):
    with Process(settings) as process:
        httpx.post(f"{process.url}/sessions", json={"session": "game"}).raise_for_status()
        with (
            connect(process.url.replace("http", "ws") + "/sessions/game/stream") as stream,
            httpx.stream("GET", f"{process.url}/sessions/game/events") as events,
        ):
            lines = events.iter_lines()
            assert next(lines)
            process.terminate()
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(timeout=PATIENCE)
            list(lines)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        code, written = process.wait()
    assert code == 0
    assert "Traceback" not in written
    assert "ERROR" not in written


def test_what_is_not_through_when_the_time_of_a_stop_is_over_is_told_so(artifacts: Path):
    chosen = Settings(artifacts=artifacts, store="memory", max_moves=100_000, max_plies=100_000, drain_seconds=1)
    with Process(chosen) as process:
        (worker,) = process.workers()
        body = {"model": "colours", "sequences": [["red"] * 100_000]}
        with post(f"{process.url}/predict", body) as connection:
            eventually(lambda: computes(worker))
            process.terminate()
            answer = connection.makefile("rb").read().decode()
        code, written = process.wait()
    assert answer.startswith("HTTP/1.1 503 ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["code"] == "draining"
    assert code == 0
    assert "Traceback" not in written


def test_a_client_that_leaves_frees_what_it_asked_for(artifacts: Path):
    with Process(Settings(artifacts=artifacts, store="memory", max_moves=100_000, max_plies=100_000)) as process:
        (worker,) = process.workers()
        body = {"model": "colours", "sequences": [["red"] * 100_000]}
        with post(f"{process.url}/predict", body):
            eventually(lambda: computes(worker))
        left = eventually(lambda: not computes(worker))
        body["sequences"] = [["red"] * 1000]
        begun = time.monotonic()
        httpx.post(f"{process.url}/predict", json=body, timeout=PATIENCE).raise_for_status()
        # A hundredth of what was given up: to have been through with that by then would have taken longer.
        assert left < 50 * (time.monotonic() - begun)
        process.terminate()
        code, written = process.wait()
    assert code == 0
    assert "ERROR" not in written


def test_a_stop_before_the_first_worker_is_ready_ends_it_too(workers: Settings):
    with start(workers, "--port=0") as process:
        eventually(psutil.Process(process.pid).children)
        process.terminate()
        _, written = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert written == ""
