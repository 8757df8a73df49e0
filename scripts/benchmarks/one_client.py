"""Reads a setting and gives of what the time of a single move consists, for one client that waits for each answer."""

import time
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.bench import random_inputs
from scripts.benchmarks.contenders import send_all
from scripts.benchmarks.figures import Run
from scripts.benchmarks.load import Plan
from scripts.benchmarks.pump import connect, pump, take_http
from scripts.benchmarks.servers import nextply
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh
from service.engine import Engine

STEP, HTTP, IN_MEMORY = "the bare step", "GET /health/live", "a move, sessions in memory"
_STORES: dict[str, dict[str, Any]] = {
    IN_MEMORY: {"store": "memory"},
    "a move, sessions in LMDB without fsync": {"fsync": False},
    "a move, sessions in LMDB with fsync": {},
}
# Requests a second that one client can send at most.
_FASTEST = 6000


def measure(setting: Setting) -> list[Run]:
    """Measure each part in turn, round by round; a run has ``p50`` in seconds and ``what`` was measured."""
    runs: list[Run] = []
    for number in tqdm(range(setting.rounds), "one client: rounds"):
        for model, models in setting.models.items():
            found = {STEP: _step(setting, model)}
            for what, settings in _STORES.items():
                with (
                    fresh(setting.work / "client") as folder,
                    nextply("nextply", models, model, folder, **settings) as server,
                ):
                    if HTTP not in found:
                        found[HTTP] = _nothing(server.url, setting.seconds)
                    found[what] = _moves(setting, server.url, model)
            runs += [{"model": model, "what": what, "round": number, "p50": p50} for what, p50 in found.items()]
    return runs


def _step(setting: Setting, model: str) -> float:
    artifact = setting.artifact(model)
    engine = Engine(artifact)
    inputs, states, times = random_inputs(artifact.game, 1, seed=0), [engine.initial], []
    end = time.perf_counter() + setting.seconds
    while (begun := time.perf_counter()) < end:
        _, states = engine.step(inputs, states)
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def _nothing(url: str, seconds: float) -> float:
    """Give the time of a request that asks for nothing: what HTTP alone costs."""
    requests = [b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"] * int(2 * _FASTEST * max(1, seconds))
    return float(np.median(pump([connect(url)], [requests], take_http, window=1, seconds=seconds).times))


def _moves(setting: Setting, url: str, model: str) -> float:
    plan = Plan.of(setting.artifact(model).game, model, "one", _FASTEST * setting.seconds, group=64)
    send_all(url, plan.openings())
    return float(np.median(pump([connect(url)], [plan.single_moves()], take_http, 1, setting.seconds).times))
