"""Reads a model, a store and what single moves cost, and gives the service times that a simulation of a fleet needs."""

import math
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from scripts.bench import random_inputs
from scripts.benchmarks.apart import APART, HALF, TOGETHER
from scripts.benchmarks.contenders import send_all
from scripts.benchmarks.figures import Run, fit, matching, middle, ratio, values
from scripts.benchmarks.load import Plan
from scripts.benchmarks.pump import exchange
from scripts.benchmarks.servers import BenchmarkError, nextply
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh
from service.engine import Engine
from service.sessions import Commit, Limits, LmdbStore, Session
from service.settings import Settings

Answer = TypeVar("Answer")
Point = tuple[float, float]

_ROWS = (1, 2, 4, 8, 16, 32, 64)
# Sessions of the store that is timed, and their moves.
_SESSIONS, _PLIES = 1024, 40
_MAX_BATCH: int = Settings.model_fields["max_batch"].default
# Connections under whose load the cost of a request is taken: ticks are full, and nobody waits for the next.
_BUSY = _MAX_BATCH
# Where one worker plays, a session's state is written with every eighth move (service/sessions/lmdb.py), once it made
# so many in a row.
_STATES, _OWN = 8, 8
# Of a run, what a simulation is checked against.
_FIGURES = "requests_per_second", "p50", "p99"
_LIMITS = Limits(state_ttl=86_400_000, session_ttl=86_400_000, max_states=1_000_000, max_sessions=1_000_000)


def measure(setting: Setting, model: str, runs: Sequence[Run], apart: Sequence[Run]) -> dict[str, Any]:
    """Give the times of one model in seconds; BenchmarkError if there are no ``runs`` of single moves.

    ``step_base`` and ``store_commit_base`` are paid once a tick (with the load of its sessions), ``…_row`` for each
    row; ``http_…`` is what a worker's processor does beside; in ``commit_fsync`` it waits. ``crowded`` and
    ``store_foreign_row`` are of runs of two services ``apart``, 1 and 0 if there are none.
    """
    runs = matching(runs, server="nextply", model=model)
    if any(_cost(runs, connections) is None for connections in (1, _BUSY)):
        raise BenchmarkError(f"there are no single moves of {model} at 1 and {_BUSY} connections: add http to --only")
    with fresh(setting.work / "times") as folder:
        sizes, sessions = _sessions(setting, model, folder)
        times = _step_times(setting, model) | _store_times(setting, folder, sessions)
    return {
        "model": f"{model}/1",
        **times,
        **http_times(times, runs),
        **shared(matching(apart, model=model)),
        "max_batch": _MAX_BATCH,
        **sizes,
        "measured": measured(runs),
        "apart": _measured_apart(matching(apart, model=model, way=APART)),
    }


def http_times(times: Mapping[str, float], runs: Sequence[Run]) -> dict[str, float]:
    """Give the processor seconds of a request beside its step and its store, for one worker.

    ``http_batch`` is paid once a batch: moves that are alone pay it all, and those of a full batch share it.
    ``http_request`` is paid for each move, and ``http_crowd`` for each time that twice as many as a full batch run, as
    it is with the most connections that were measured.
    """
    rows = times["step_row"] + times["store_commit_row"]

    def beside(connections: int) -> tuple[float, float]:
        """Give what a request takes beside step and store, and how many moves its batch has."""
        cost, moves = _cost(runs, connections), middle(runs, "moves_per_commit", workers=1, connections=connections)
        assert cost is not None
        assert moves is not None
        ticks = math.ceil(moves / _MAX_BATCH)
        return cost - rows - (ticks * times["step_base"] + times["store_commit_base"]) / moves, moves

    (alone, one), (busy, many) = beside(1), beside(_BUSY)
    batch = max(0.0, (alone - busy) / (1 / one - 1 / many))
    request = max(0.0, busy - batch / many)
    most = max(values(matching(runs, workers=1), "connections"))
    crowd = 0.0
    if most > _BUSY:
        slow, many = beside(most)
        crowd = max(0.0, slow - request - batch / many) / math.log2(most / _BUSY)
    return {"http_request": request, "http_batch": batch, "http_crowd": crowd}


def shared(apart: Sequence[Run]) -> dict[str, float]:
    """Give what two workers pay for sharing a machine, and what for sharing a store.

    The first is how many times the processor a request takes where another service keeps the other core busy. The
    second is what it takes more than that where both play in the same sessions: of half the moves the other one made
    the one before.
    """
    name = "requests_per_cpu_second"
    crowded = ratio(apart, name, {"way": HALF}, {"way": APART}) or 1.0
    two, pair = middle(apart, name, way=APART), middle(apart, name, way=TOGETHER)
    foreign = 0.0 if two is None or pair is None else 2 * (1 / pair - 1 / two)
    return {"crowded": max(1.0, crowded), "store_foreign_row": max(0.0, foreign)}


def _cost(runs: Sequence[Run], connections: int) -> float | None:
    """Give the processor seconds of a request where one worker serves so many connections, None if none did."""
    requests = middle(runs, "requests_per_cpu_second", workers=1, connections=connections)
    return None if requests is None else 1 / requests


def _measured_apart(runs: Sequence[Run]) -> dict[str, Any] | None:
    if not runs:
        return None
    figures = {name: middle(runs, name) for name in _FIGURES}
    return {"workers": 2, "connections": 2 * runs[0]["connections"], **figures}


def measured(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Give what a simulation is checked against: the medians by workers and connections."""
    return [
        {
            "workers": workers,
            "connections": connections,
            **{name: middle(runs, name, **at) for name in _FIGURES},
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
    timed: dict[bool, dict[str, list[Point]]] = {}
    for fsync in (False, True):
        shutil.copytree(folder / "data", folder / f"data-{fsync}")
        store = LmdbStore(folder / f"data-{fsync}", 4, fsync=fsync, limits=_LIMITS)
        points = timed[fsync] = defaultdict(list)
        for rows in tqdm(_ROWS, "times: store " + ("with fsync" if fsync else "without fsync")):
            for name, seconds in _time_store(store, ids, rows, setting.seconds).items():
                points[name].append((rows, seconds))
        store.close()
    (load_base, load), (base, row), (_, whole) = (fit(timed[False][name]) for name in ("load", "commit", "whole"))
    waits = [slow - fast for (_, slow), (_, fast) in zip(timed[True]["commit"], timed[False]["commit"], strict=True)]
    return {
        "store_load_row": load,
        "store_commit_base": base + load_base,
        "store_commit_row": row + max(0.0, whole - row) / _STATES,
        "commit_fsync": max(0.0, float(np.median(waits))),
    }


def _time_store(store: LmdbStore, ids: Sequence[str], rows: int, seconds: float) -> dict[str, float]:
    """Give the median seconds of each call for so many sessions; a ``whole`` commit writes the states as well."""
    rng, times = np.random.default_rng(rows), defaultdict[str, list[float]](list)

    def timed(name: str, call: Callable[[], Answer]) -> Answer:
        begun = time.perf_counter()
        answer = call()
        times[name].append(time.perf_counter() - begun)
        return answer

    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        chosen = [ids[number] for number in rng.choice(len(ids), rows, replace=False)]
        found = timed("load", partial(_load, store, chosen))
        for name, own in (("commit", _OWN), ("whole", 0)):
            after = [replace(one, revision=one.revision + 1) for one in found]
            commits = [Commit(new, old.revision, own) for new, old in zip(after, found, strict=True)]
            assert all(timed(name, partial(store.commit_many, commits)))
            found = after
    return {name: float(np.median(seconds)) for name, seconds in times.items()}


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
