"""Reads a model, a store and what single moves cost, and gives the service times that a simulation of a fleet needs."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.bench import random_inputs
from scripts.benchmarks.contenders import send_all
from scripts.benchmarks.figures import Run, fit, matching, middle, values
from scripts.benchmarks.load import Plan
from scripts.benchmarks.pump import exchange
from scripts.benchmarks.servers import BenchmarkError, nextply
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh
from service.engine import Engine
from service.sessions import Commit, Limits, LmdbStore, Session
from service.settings import Settings

Point = tuple[float, float]

_ROWS = (1, 2, 4, 8, 16, 32, 64)
# Sessions of the store that is timed, and their moves.
_SESSIONS, _PLIES = 1024, 40
# Connections under whose load the cost of a request is taken: ticks and commits are then as full as they get.
_BUSY = 64
_LIMITS = Limits(state_ttl=86_400_000, session_ttl=86_400_000, max_states=1_000_000, max_sessions=1_000_000)


def measure(setting: Setting, model: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Give the times of one model in seconds; ``runs`` are those of single moves. BenchmarkError if they are missing.

    ``step_base`` and ``store_commit_base`` are paid once a tick (with the load of its sessions), ``…_row`` for each
    row; ``http_request`` is what a worker's processor does for a request beside; in ``commit_fsync`` it waits.
    """
    runs = matching(runs, server="nextply", model=model)
    if middle(runs, "requests_per_cpu_second", workers=1, connections=_BUSY) is None:
        raise BenchmarkError(f"there are no single moves of {model} at {_BUSY} connections: add http to --only")
    with fresh(setting.work / "times") as folder:
        sizes, sessions = _sessions(setting, model, folder)
        times = _step_times(setting, model) | _store_times(setting, folder, sessions)
    return {
        "model": f"{model}/1",
        **times,
        "http_request": http_request(times, runs),
        "max_batch": Settings.model_fields["max_batch"].default,
        **sizes,
        "measured": measured(runs),
    }


def http_request(times: Mapping[str, float], runs: Sequence[Run]) -> float:
    """Give the processor seconds of a request beside its step and its store, for one worker under load.

    What is paid once a tick is shared by as many moves as one commit held.
    """
    busy = {"workers": 1, "connections": _BUSY}
    requests = middle(runs, "requests_per_cpu_second", **busy)
    shared = middle(runs, "moves_per_commit", **busy)
    assert requests is not None
    assert shared is not None
    base = (times["step_base"] + times["store_commit_base"]) / shared
    rows = times["step_row"] + times["store_load_row"] + times["store_commit_row"]
    return max(0.0, 1 / requests - base - rows)


def measured(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Give what a simulation is checked against: the medians by workers and connections."""
    return [
        {
            "workers": workers,
            "connections": connections,
            **{name: middle(runs, name, **at) for name in ("requests_per_second", "p50", "p99")},
        }
        for workers in sorted(values(runs, "workers"))
        for connections in sorted(values(runs, "connections"))
        if matching(runs, **(at := {"workers": workers, "connections": connections}))
    ]


def _step_times(setting: Setting, model: str) -> dict[str, float]:
    artifact = setting.artifact(model)
    engine, points = Engine(artifact), []
    for rows in tqdm(_ROWS, f"times: steps of {model}"):
        inputs = random_inputs(artifact.game, rows, seed=rows)
        states = [engine.initial] * rows
        points.append((rows, _time(lambda: engine.step(inputs, states), setting.seconds)))  # noqa: B023
    base, row = fit(points)
    return {"step_base": base, "step_row": row}


def _sessions(setting: Setting, model: str, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Let a service open sessions in a store in ``folder``; give sizes in bytes, and the ids."""
    game = setting.artifact(model).game
    plan = Plan.of(game, model, "timed", 1, _SESSIONS, begun=_PLIES)
    with nextply("nextply", setting.models[model], model, folder) as server:
        send_all(server.url, plan.openings())
        request = plan.single_moves()[0]
        sizes = {"bytes_request": len(request), "bytes_answer": len(exchange(server.url, request))}
    store = LmdbStore(folder / "data", 4, fsync=False, limits=_LIMITS)
    records = [session.pack() for session in _load(store, plan.ids)]
    store.close()
    log, state = (int(np.median([len(record[part] or b"") for record in records])) for part in (0, 1))
    return sizes | {"bytes_session_log": log, "bytes_session_state": state}, plan.ids


def _store_times(setting: Setting, folder: Path, ids: Sequence[str]) -> dict[str, float]:
    """Time loads and commits of many sizes, without waiting for the disk and with it."""
    loads, commits, waits = list[Point](), list[Point](), list[Point]()
    for fsync in (False, True):
        shutil.copytree(folder / "data", folder / f"data-{fsync}")
        store = LmdbStore(folder / f"data-{fsync}", 4, fsync=fsync, limits=_LIMITS)
        for rows in tqdm(_ROWS, "times: store " + ("with fsync" if fsync else "without fsync")):
            timed = _StoreTimer(store, ids, rows)
            times = timed.through(setting.seconds / 2)
            (waits if fsync else commits).append((rows, times[1]))
            if not fsync:
                loads.append((rows, times[0]))
        store.close()
    load_base, load_row = fit(loads)
    base, row = fit(commits)
    wait = float(np.median([slow - fast for (_, slow), (_, fast) in zip(waits, commits, strict=True)]))
    return {
        "store_load_row": load_row,
        "store_commit_base": base + load_base,
        "store_commit_row": row,
        "commit_fsync": max(0.0, wait),
    }


class _StoreTimer:
    """Loads and commits as many sessions at a time as a tick has rows."""

    def __init__(self, store: LmdbStore, ids: Sequence[str], rows: int) -> None:
        self._store, self._ids, self._rows = store, ids, rows
        self._rng = np.random.default_rng(rows)

    def through(self, seconds: float) -> tuple[float, float]:
        """Give the medians of a load and of a commit."""
        loads, commits = list[float](), list[float]()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not commits:
            ids = [self._ids[number] for number in self._rng.choice(len(self._ids), self._rows, replace=False)]
            begun = time.perf_counter()
            found = _load(self._store, ids)
            loaded = time.perf_counter()
            after = [Commit(replace(one, revision=one.revision + 1), one.revision) for one in found]
            made = time.perf_counter()
            assert all(self._store.commit_many(after))
            loads.append(loaded - begun)
            commits.append(time.perf_counter() - made)
        return float(np.median(loads)), float(np.median(commits))


def _load(store: LmdbStore, ids: Sequence[str]) -> list[Session]:
    found = store.load_many(ids)
    sessions = [session for session in found if isinstance(session, Session)]
    assert len(sessions) == len(ids)
    return sessions


def _time(call: Callable[[], object], seconds: float) -> float:
    """Give the median seconds of a call."""
    times, end = list[float](), time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end or not times:
        call()
        times.append(time.perf_counter() - begun)
    return float(np.median(times))
