"""What tests of the service share: small artifacts, games, a client that checks what is documented, a process."""

import json
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch
from fastapi import FastAPI

from model.artifact import Artifact
from model.dataset import Source, pack
from model.export import export
from model.games import Game, TokenGame, load_game
from model.network import NextMove, Shape
from service.app import create_app
from service.settings import Settings

TINY = Shape(width=24, embedding=16, channels=12, blocks=1, key=8)
COLOURS = ("red", "green", "blue", "white", "black")
PAGES = ("home", "search", "item", "cart", "pay", "help", "bye")

# Kasparov – Topalov, Wijk aan Zee 1999: 87 plies with both castlings long, checks, and a king driven across the board.
_GAME = """
    e4 d6 d4 Nf6 Nc3 g6 Be3 Bg7 Qd2 c6 f3 b5 Nge2 Nbd7 Bh6 Bxh6 Qxh6 Bb7 a3 e5 O-O-O Qe7 Kb1 a6 Nc1 O-O-O Nb3 exd4
    Rxd4 c5 Rd1 Nb6 g3 Kb8 Na5 Ba8 Bh3 d5 Qf4+ Ka7 Rhe1 d4 Nd5 Nbxd5 exd5 Qd6 Rxd4 cxd4 Re7+ Kb6 Qxd4+ Kxa5 b4+ Ka4
    Qc3 Qxd5 Ra7 Bb7 Rxb7 Qc4 Qxf6 Kxa3 Qxa6+ Kxb4 c3+ Kxc3 Qa1+ Kd2 Qb2+ Kd1 Bf1 Rd2 Rd7 Rxd7 Bxc4 bxc4 Qxh8 Rd3 Qa8
    c3 Qa4+ Ke1 f4 f5 Kc1 Rd2 Qa7
"""
KASPAROV_TOPALOV = _GAME.split()


def random_game(game: Game, seed: int, plies: int) -> list[str]:
    """Legal moves drawn at random, fewer than ``plies`` if the game ends before."""
    rng, position, moves = random.Random(seed), game.new_position(), []
    while len(moves) < plies:
        legal = position.legal()
        candidates = range(len(game.vocabulary)) if legal is None else legal
        if not candidates:
            break
        move = rng.choice(candidates)
        moves.append(position.notation(move).move)
        position.play(move)
    return moves


def write_artifact(
    folder: Path, game: Game, precision: str = "int8", seed: int = 0, shape: Shape = TINY, gain: float = 1
) -> Artifact:
    """Export an untrained network whose predictions differ from move to move, calibrated on random games.

    The weights of its cell are ``gain`` times as large as those that a training begins with.
    """
    torch.manual_seed(seed)
    network = NextMove(game, shape)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
        for parameter in network.cell.parameters():
            parameter.mul_(gain)
        network.linear.weight.mul_(4)
    folder.parent.mkdir(parents=True, exist_ok=True)
    records = folder.with_suffix(".jsonl")
    games = (random_game(game, number, 30 + number) for number in range(6))
    records.write_text("\n".join(map(json.dumps, games)))
    packed, _ = pack(game, [Source(records)])
    return export(folder, game, network, packed, precision=precision)


def write_artifacts(root: Path) -> Path:
    """Write one small model of every kind of game, chess in both precisions."""
    chess = load_game({"name": "chess"})
    write_artifact(root / "chess" / "1", chess)
    write_artifact(root / "chess-fp32" / "1", chess, "fp32")
    write_artifact(root / "othello" / "1", load_game({"name": "othello"}))
    write_artifact(root / "colours" / "1", TokenGame(COLOURS))
    write_artifact(root / "pages" / "1", TokenGame(PAGES), "fp32")
    return root


class Client(httpx.AsyncClient):
    """A client of the application itself, which checks each answer against the OpenAPI description of its route."""

    def __init__(self, app: FastAPI) -> None:
        """Read the description."""
        paths: dict[str, Any] = app.openapi()["paths"]
        self._routes = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), routes) for path, routes in paths.items()]
        super().__init__(
            transport=httpx.ASGITransport(app=app),
            base_url="http://service",
            event_hooks={"response": [self._check_documented]},
        )

    async def _check_documented(self, response: httpx.Response) -> None:
        request = response.request
        for pattern, routes in self._routes:
            if pattern.fullmatch(request.url.path) and request.method.lower() in routes:
                route = routes[request.method.lower()]["responses"]
                status, kind = str(response.status_code), response.headers.get("content-type")
                assert status in route, f"{request.method} {request.url.path} answered {status}: undocumented"
                documented = route[status].get("content", {None: ...})
                assert kind in documented, f"{request.method} {request.url.path}: {status} as {kind} is undocumented"

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must succeed; give the answer's body."""
        response = await self.request(method, path, json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def problem(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must fail; give the problem."""
        return read_problem(await self.request(method, path, json=body))


def read_problem(response: httpx.Response) -> Any:
    """Give the body of an answer that must be an error as RFC 9457 has it, and the sender's, or one of 503."""
    assert response.is_client_error or response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["type"] == "about:blank"
    assert body["title"]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", body["code"])
    assert body["detail"]
    return body


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """Give an application that starts and stops here."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    """Give a client of a service that starts and stops here."""
    async with running(settings) as app, Client(app) as client:
        yield client


async def clear(client: Client) -> None:
    """Serve chess again if it was unloaded, and delete every session."""
    await client.ok("POST", "/v2/repository/models/chess/load")
    for session in (await client.ok("GET", "/sessions"))["sessions"]:
        await client.ok("DELETE", f"/sessions/{session['session']}")


async def play_one_by_one(client: Client, id_: str, moves: Iterable[str], ply: int = 0) -> list[Any]:
    """Play moves in a session, one a request; give the answers, whole distributions in them."""
    path = f"/sessions/{id_}/moves"
    return [
        await client.ok("POST", path, {"moves": [move], "ply": number, "top_k": 100})
        for number, move in enumerate(moves, start=ply)
    ]


async def predict_one(client: Client, model: str, moves: Sequence[str], **options: Any) -> Any:
    """Give the prediction for one sequence, the whole distribution in it."""
    body = {"model": model, "sequences": [moves], "top_k": 100, **options}
    return (await client.ok("POST", "/predict", body))["predictions"][0]


class Process:
    """A service in a process of its own, on a port that it chooses itself."""

    def __init__(self, settings: Settings) -> None:
        """Start it and wait until it listens."""
        self._process = start(settings, "--port", "0")
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if found := re.search(r"running on (http://[\d.]+:\d+)", line):
                self.url = found[1]
                return
        raise AssertionError("".join(lines))

    def __enter__(self) -> "Process":
        """Give the running service."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, however it is."""
        self.kill()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.communicate()

    def memory(self) -> int:
        """Give the bytes of memory that it holds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10

    def workers(self) -> list[psutil.Process]:
        """Give the processes that serve: those that it started, or itself."""
        itself = psutil.Process(self._process.pid)
        return itself.children() or [itself]

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.terminate()

    def wait(self) -> tuple[int, str]:
        """Wait for its end; give its exit code and what it wrote since it listened."""
        _, written = self._process.communicate(timeout=60)
        return self._process.returncode, written


def start(settings: Settings, *arguments: str) -> "subprocess.Popen[str]":
    """Run ``python -m service`` with settings that differ from the defaults, as flags."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.model_dump(exclude_unset=True).items()]
    command = [sys.executable, "-m", "service", *flags, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
