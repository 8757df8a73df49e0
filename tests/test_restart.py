"""Real processes that are killed, stopped or doubled: what was acknowledged is there, once."""

import asyncio
import http.client
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.games import Chess
from service.settings import Settings
from tests.serving import Process, random_game

pytestmark = pytest.mark.anyio


@dataclass
class Player:
    """Plays one game, a few moves a request, and remembers what was acknowledged and what was sent last."""

    id_: str
    game: list[str]
    played: list[str] = field(default_factory=list)
    surprisal: list[float] = field(default_factory=list)
    sent: dict[str, Any] = field(default_factory=dict)

    async def play(self, client: httpx.AsyncClient) -> None:
        """Play until the game or the service ends."""
        try:
            await client.post("/sessions", json={"session": self.id_})
            while len(self.played) < len(self.game):
                ply = len(self.played)
                await self.send(client, {"moves": self.game[ply : ply + 1 + ply % 3], "ply": ply})
        except httpx.TransportError:
            return

    async def send(self, client: httpx.AsyncClient, body: dict[str, Any]) -> None:
        self.sent = body
        answer = await client.post(f"/sessions/{self.id_}/moves", json=body)
        assert answer.status_code == 200, answer.text
        self.played += body["moves"]
        self.surprisal += answer.json()["surprisal"]


async def kill_in_the_middle(process: Process, players: Iterable[Player], moves: int) -> None:
    """Let all play at the same time, and kill the service once so many moves were acknowledged."""

    async def kill(response: httpx.Response) -> None:
        if sum(len(player.played) for player in players) >= moves:
            process.kill()

    async with httpx.AsyncClient(base_url=process.url, event_hooks={"response": [kill]}) as client:
        await asyncio.gather(*(player.play(client) for player in players))


@pytest.mark.parametrize("fsync", [True, False])
async def test_after_a_kill_every_acknowledged_move_is_there_and_none_twice(
    artifacts: Path, tmp_path: Path, fsync: bool
):
    settings = Settings(artifacts=artifacts, data_dir=tmp_path / "data", fsync=fsync)
    players = [Player(f"game-{number}", random_game(Chess(), number, 60)) for number in range(8)]
    with Process(settings) as process:
        await kill_in_the_middle(process, players, moves=120)
    assert all(player.played != player.game for player in players)
    with Process(settings) as process:
        async with httpx.AsyncClient(base_url=process.url) as client:
            for player in players:
                stored = (await client.get(f"/sessions/{player.id_}")).json()["moves"]
                assert stored in (player.played, player.played + player.sent["moves"])
                await player.send(client, player.sent)
                session = (await client.get(f"/sessions/{player.id_}?top_k=100")).json()
                assert session["moves"] == player.played == player.game[: len(player.played)]
                body = {"sequences": [player.played], "top_k": 100, "score": True}
                (fresh,) = (await client.post("/predict", json=body)).json()["predictions"]
                assert session["next"] == fresh["next"]
                assert session["surprisal"] == player.surprisal == fresh["surprisal"]


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
