"""Reads a plan and an aim and gives the highest load that holds it, the cell that is copied, and fleets of any size."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from scripts.fleet.plan import Closed, Open, Plan
from scripts.fleet.simulation import Run, simulate
from scripts.fleet.times import ServiceTimes, ShardCosts

# Sizes of a cell that are tried, in workers.
_WORKERS = 1, 2, 3, 4, 6, 8, 12, 16, 24, 32
# A worker is added to a cell while each still does this part of what it does in a cell of its own.
_WORTH = 0.9
_HALVINGS = 7
# What binds where it is neither memory nor network.
LOAD = "load"


class OutOfReachError(ValueError):
    """An aim that no load holds; the text says which."""


@dataclass(frozen=True)
class Aim:
    """What a fleet has to hold, and how closely it is looked at."""

    p99: float = 0.05
    """Seconds."""
    fill: float = 0.7
    """The load that is planned for, as a part of the highest that holds p99: the rest is for peaks and failures."""
    requests: int = 20_000
    """Of one simulation, at least."""


@dataclass(frozen=True)
class Hardware:
    """What the fleet is built of and used for; assumptions, none of them measured."""

    shard_memory: float = 24e9
    """Bytes for sessions in one shard."""
    shard_network: float = 1.25e9
    """Bytes a second of one shard's network (10 Gbit/s)."""
    copies: int = 2
    """Of each session: a shard and its replicas."""
    balancer_rate: float = 30_000.0
    """Requests a second of one core of a balancer; HAProxy's makers measured 2.04 million on 64."""
    every: float = 10.0
    """Seconds from move to move of a session."""
    plies: int = 80
    """Moves of a game."""


@dataclass(frozen=True)
class Cell:
    """One shard and the workers that keep it busy, at the load that is planned for them."""

    workers: int
    highest: float
    """Moves a second with which p99 just holds."""
    planned: float
    run: Run
    """What happens at the planned load."""


def ceiling(plan: Plan, aim: Aim) -> float:
    """Give the requests a second when everything that waits is always full, whatever they take."""
    connections = plan.workers * min(4 * plan.times.max_batch, plan.design.max_requests)
    return simulate(plan, Closed(connections, max(aim.requests, 10 * connections))).per_second


def highest(plan: Plan, aim: Aim) -> float:
    """Give the highest rate of Poisson arrivals at which p99 holds and nothing is refused, by bisection; 0 if none."""

    def holds(rate: float) -> bool:
        # Long enough for a queue that grows to be seen.
        run = simulate(plan, Open(rate, max(aim.requests, int(rate * 10 * aim.p99))))
        return run.outcomes.keys() == {"answered"} and run.quantile(0.99) <= aim.p99

    return _bisect(holds, ceiling(plan, aim))


def _bisect(holds: Callable[[float], bool], most: float) -> float:
    """Give about the most for which something holds that holds for less and not for more."""
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def find_cell(plan: Plan, aim: Aim) -> Cell:
    """Give the largest cell whose workers do nearly what each would do in one of its own; ``plan`` has one shard.

    OutOfReachError if not even a cell with next to nothing to do holds the aim.
    """
    alone = ceiling(replace(plan, workers=1), aim)
    chosen = 1
    for workers in _WORKERS[1:]:
        if ceiling(replace(plan, workers=workers), aim) < _WORTH * workers * alone:
            break
        chosen = workers
    plan = replace(plan, workers=chosen)
    most = highest(plan, aim)
    if not most:
        raise OutOfReachError(f"{plan.times.model}: a p99 of {aim.p99:g} s is out of reach, however small the load")
    planned = aim.fill * most
    return Cell(chosen, most, planned, simulate(plan, Open(planned, aim.requests)))


def moved(times: ServiceTimes, copies: int) -> dict[str, float]:
    """Give the bytes that a move sends: between clients and service, and to and from a shard and its replicas."""
    session = times.bytes_session_log + times.bytes_session_state
    return {"clients": times.bytes_request + times.bytes_answer, "shard": session * (2 + copies - 1)}


def carried(cell: Cell, times: ServiceTimes, costs: ShardCosts, hardware: Hardware) -> dict[str, float]:
    """Give the live sessions that one cell carries, by what would have to carry them."""
    session = times.bytes_session_log + times.bytes_session_state + costs.shard_overhead
    return {
        LOAD: cell.planned * hardware.every,
        "memory of the shard": hardware.shard_memory / session,
        "network of the shard": hardware.shard_network / moved(times, hardware.copies)["shard"] * hardware.every,
    }


def memory(
    sessions: float, times: ServiceTimes, costs: ShardCosts, hardware: Hardware, state_ttl: float, session_ttl: float
) -> dict[str, float]:
    """Give bytes of all shards, one copy: of live sessions, and of those that ended and are still kept.

    A game that nobody deletes keeps its state for ``state_ttl`` and its moves for ``session_ttl`` seconds.
    """
    log = times.bytes_session_log + costs.shard_overhead
    whole = log + times.bytes_session_state
    ended = sessions / hardware.every / hardware.plies
    return {
        "live": sessions * whole,
        "live, only moves": sessions * log,
        "ended, a day of moves": ended * 86_400 * log,
        "as the settings are": sessions * whole + ended * (state_ttl * times.bytes_session_state + session_ttl * log),
    }


def fleet(sessions: float, cell: Cell, times: ServiceTimes, costs: ShardCosts, hardware: Hardware) -> dict[str, Any]:
    """Give what so many live sessions take: cells in proportion, and what does not grow in proportion beside them."""
    moves = sessions / hardware.every
    limits = carried(cell, times, costs, hardware)
    cells = math.ceil(sessions / min(limits.values()))
    bytes_ = moved(times, hardware.copies)
    return {
        "sessions": sessions,
        "moves_per_second": moves,
        "cells": cells,
        "workers": cells * cell.workers,
        "shards": cells * hardware.copies,
        "binds": min(limits, key=lambda name: limits[name]),
        "bytes_per_second": {"clients": moves * bytes_["clients"], "shards": moves * bytes_["shard"]},
        "balancer_cores": math.ceil(moves / hardware.balancer_rate),
        # The largest of n sums of many sessions each, as for normal variables: sqrt(2 ln n) deviations above the mean.
        "fullest_cell": 1 + math.sqrt(2 * math.log(cells) * cells / sessions) if cells > 1 else 1.0,
    }


def summary(run: Run) -> dict[str, Any]:
    """Give what tables and plots need of a run."""
    return {
        "per_second": run.per_second,
        "p50": run.quantile(0.5),
        "p99": run.quantile(0.99),
        "rows_of_tick": run.rows_of_tick,
        "rows_of_commit": run.rows_of_commit,
        "in_flight": run.in_flight,
        "busy": run.busy,
        "outcomes": run.outcomes,
    }


def described(cell: Cell) -> dict[str, Any]:
    """Give a cell as it is written to a file."""
    return {name: value for name, value in asdict(cell).items() if name != "run"} | {"run": summary(cell.run)}
