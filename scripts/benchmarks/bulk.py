"""Reads a setting and gives the moves a second of what carries many of them: ``/steps``, ``/predict``, WebSockets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from socket import socket
from typing import Any

import numpy as np
from tqdm import tqdm

from model.games import Game
from scripts.benchmarks.contenders import send_all
from scripts.benchmarks.figures import Run
from scripts.benchmarks.load import Plan, fastest, line, post
from scripts.benchmarks.pump import Pumped, Take, connect, connect_stream, frame, pump, take_frames, take_http
from scripts.benchmarks.servers import nextply
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh

# Sessions of one request to /steps; games of one to /predict, and their plies.
_SESSIONS, _GAMES, _PLIES = 64, 64, 80
# Sessions of one WebSocket that are played in by turns, and messages that are sent before they are answered.
_STREAM_SESSIONS, _WINDOW = 256, 256
# Connections of one process are not shared out evenly; eight seldom all go to the same.
_CONNECTIONS = (1, 8)
_WARM_UP = 0.3


@dataclass(frozen=True)
class Target:
    """A running service, and what is sent to it."""

    url: str
    game: Game
    model: str


@dataclass(frozen=True)
class Prepared:
    """Messages for some connections, of which each is open."""

    links: list[socket]
    messages: Sequence[Iterable[bytes]]
    take: Take = take_http
    window: int = 1

    def send(self, seconds: float) -> Pumped:
        """Send for some seconds."""
        return pump(self.links, self.messages, self.take, self.window, seconds)


Load = Callable[[Target, str, int, float], Prepared]
"""Opens sessions named after a tag, and prepares what is sent for some seconds over some connections."""


def measure_steps(setting: Setting) -> list[Run]:
    """Measure ``/steps``, 64 sessions a request; a run has ``moves_per_second`` and ``p50``, seconds of a request."""
    return _measure(setting, "steps", _steps, _SESSIONS)


def measure_predict(setting: Setting) -> list[Run]:
    """Measure ``/predict``, 64 games of 80 plies a request, each game sent once."""
    return _measure(setting, "predict", _predict, _GAMES * _PLIES)


def measure_streams(setting: Setting) -> list[Run]:
    """Measure WebSockets of many sessions, whose messages are sent ahead; no time of a single answer is known."""
    return _measure(setting, "streams", _stream, 1)


def _measure(setting: Setting, part: str, load: Load, weight: int) -> list[Run]:
    """Measure a load of whose answers each stands for ``weight`` moves."""
    kinds = [(model, count) for model in setting.models for count in setting.workers]
    runs: list[Run] = []
    for number in tqdm(range(setting.rounds), f"{part}: rounds"):
        for model, count in tqdm(kinds, part, leave=False):
            game = setting.artifact(model).game
            with (
                fresh(setting.work / part) as folder,
                nextply("nextply", setting.models[model], model, folder, workers=count) as server,
            ):
                target = Target(server.url, game, model)
                load(target, "warm", 1, _WARM_UP).send(_WARM_UP)
                for connections in _CONNECTIONS:
                    prepared = load(target, f"c{connections}", connections, setting.seconds)
                    before = server.use().cpu
                    found = prepared.send(setting.seconds)
                    label = {"model": model, "workers": count, "connections": connections, "round": number}
                    runs.append(label | _figures(found, weight, server.use().cpu - before))
    return runs


def _figures(found: Pumped, weight: int, server_cpu: float) -> dict[str, Any]:
    return {
        "moves_per_second": found.answers * weight / found.seconds,
        "p50": float(np.median(found.times)) if found.times else None,
        "server_cores": server_cpu / found.seconds,
        "client_cores": found.client_cpu / found.seconds,
    }


def _opened(target: Target, tag: str, connections: int, moves: float, group: int) -> list[Plan]:
    """Open the sessions of every connection, for so many moves of all."""
    tags = [f"{tag}k{number}" for number in range(connections)]
    plans = [Plan.of(target.game, target.model, tag, moves / connections, group) for tag in tags]
    send_all(target.url, list(chain.from_iterable(plan.openings() for plan in plans)))
    return plans


def _steps(target: Target, tag: str, connections: int, seconds: float) -> Prepared:
    plans = _opened(target, tag, connections, fastest(target.game) * seconds, _SESSIONS)
    return Prepared([connect(target.url) for _ in plans], [list(plan.steps()) for plan in plans])


def _stream(target: Target, tag: str, connections: int, seconds: float) -> Prepared:
    plans = _opened(target, tag, connections, fastest(target.game) * seconds, _STREAM_SESSIONS)
    messages = [list(map(frame, plan.messages())) for plan in plans]
    links = [connect_stream(target.url, "/stream") for _ in plans]
    return Prepared(links, messages, take_frames, _WINDOW)


def _predict(target: Target, tag: str, connections: int, seconds: float) -> Prepared:
    rng = np.random.default_rng(list(tag.encode()))
    count = connections + int(fastest(target.game) * seconds / (_GAMES * _PLIES))
    bodies = [
        post("/predict", {"model": target.model, "sequences": [line(target.game, _PLIES, rng) for _ in range(_GAMES)]})
        for _ in range(count)
    ]
    left = iter(bodies)
    return Prepared([connect(target.url) for _ in range(connections)], [left] * connections)
