"""Reads a plan and an aim and gives what is asked of one model: each question a function, its answer fit for JSON."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from scripts.fleet.calibration import agree
from scripts.fleet.capacity import (
    Aim,
    Cell,
    Hardware,
    carried,
    ceiling,
    described,
    find_cell,
    fleet,
    highest,
    memory,
    moved,
    summary,
)
from scripts.fleet.plan import Caution, Closed, Failure, Open, Plan
from scripts.fleet.simulation import Floats, simulate
from scripts.fleet.times import ServiceTimes
from service.settings import Settings

SESSIONS = 10_000_000, 1_000_000_000
_CONNECTIONS = 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024
_FILLS = 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98
_SPREAD = 1, 2, 4
# A failure begins after so many seconds and lasts for so many, of so many that are simulated, and is seen in such bins.
_FAILS, _LASTS, _SECONDS, _BIN = 1.5, 3.0, 7.0, 0.1

_FAILURES: dict[str, tuple[Literal["worker", "shard"], Caution]] = {
    "a worker dies": ("worker", Caution()),
    "a shard is away, clients wait longer each time": ("shard", Caution()),
    "a shard is away, clients always wait as long": ("shard", Caution(growth=1.0)),
}

Answer = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What every question is about: one model, in a machine of the benchmarks and in a cell of a fleet."""

    machine: Plan
    fleet: Plan
    aim: Aim
    hardware: Hardware
    cell: Cell


def check(asked: Asked) -> list[Answer]:
    """Simulate what was measured."""
    return [agree(asked.machine, run, asked.aim.requests).described() for run in asked.machine.times.measured]


def connections(asked: Asked) -> Answer:
    """Simulate one worker and two at many numbers of connections."""

    def run(workers: int, number: int) -> Answer:
        plan = replace(asked.machine, workers=workers)
        return {"connections": number} | summary(simulate(plan, Closed(number, max(asked.aim.requests, 10 * number))))

    return {str(workers): [run(workers, number) for number in _CONNECTIONS] for workers in (1, 2)}


def loads(asked: Asked) -> Answer:
    """Load a worker with a shard more and more, with fsync and without."""
    answers = {}
    for name, fsync in (("with fsync", True), ("without fsync", False)):
        plan = replace(asked.fleet, workers=1, fsync=fsync)
        most = ceiling(plan, asked.aim)
        requests = max(asked.aim.requests, int(most))
        runs = [{"fill": fill} | summary(simulate(plan, Open(fill * most, requests))) for fill in _FILLS]
        answers[name] = {"ceiling": most, "runs": runs}
    return answers


# What makes a part cost half, by its name.
_HALVES: dict[str, Callable[[Plan], Plan]] = {
    "HTTP and the move, each": lambda plan: _times(plan, "http_request", "http_crowd"),
    "HTTP and the move, a batch": lambda plan: _times(plan, "http_batch"),
    "step, fixed": lambda plan: _times(plan, "step_base"),
    "step, each row": lambda plan: _times(plan, "step_row"),
    "ways between threads": lambda plan: replace(plan, design=replace(plan.design, hop=plan.design.hop / 2)),
    "disk": lambda plan: _times(plan, "commit_fsync"),
    "store, CPU of the worker": lambda plan: _costs(
        _times(plan, "store_load_row", "store_commit_base", "store_commit_row"),
        "client_base",
        "client_load_row",
        "client_commit_row",
    ),
    "store, CPU of the shard": lambda plan: _costs(plan, "shard_base", "shard_load_row", "shard_commit_row"),
    "network to the shard": lambda plan: _costs(plan, "round_trip"),
}


def _times(plan: Plan, *names: str) -> Plan:
    times = plan.times
    return replace(plan, times=times.model_copy(update={name: getattr(times, name) / 2 for name in names}))


def _costs(plan: Plan, *names: str) -> Plan:
    return replace(plan, costs=replace(plan.costs, **{name: getattr(plan.costs, name) / 2 for name in names}))


def parts(asked: Asked) -> Answer:
    """Let each part cost half: how many more requests a second there are, and how much sooner one alone is answered."""
    plans = {
        "one worker": replace(asked.machine, workers=1),
        "two workers": replace(asked.machine, workers=2),
        "cell": replace(asked.fleet, workers=asked.cell.workers),
    }

    def alone(plan: Plan) -> float:
        return float(simulate(plan, Closed(1, 2000)).took.mean())

    def gains(plan: Plan) -> Answer:
        most, least = ceiling(plan, asked.aim), alone(plan)
        halves = {name: half(plan) for name, half in _HALVES.items()}
        return {
            "more": {name: ceiling(half, asked.aim) / most - 1 for name, half in halves.items()},
            "sooner": {name: 1 - alone(half) / least for name, half in halves.items()},
        }

    return {name: gains(plan) for name, plan in plans.items()}


def spread(asked: Asked) -> list[Answer]:
    """Let workers send to several shards, in place of the one of their cell."""
    answers = []
    for shards in _SPREAD:
        plan = replace(asked.fleet, shards=shards, workers=shards * asked.cell.workers)
        run = simulate(plan, Open(shards * asked.cell.planned, shards * asked.aim.requests))
        most = ceiling(plan, asked.aim) / plan.workers
        answers.append({"shards": shards, "ceiling_of_a_worker": most} | summary(run))
    return answers


def rebuilt(asked: Asked) -> Answer:
    """Keep no state, and read each game anew for every move."""
    times, hardware = asked.fleet.times, asked.hardware
    bare = times.model_copy(update={"bytes_session_state": 0.0})

    def kept(plan: Plan, times: ServiceTimes) -> Answer:
        most = highest(replace(plan, workers=1), asked.aim)
        # A worker alone, for the shard is not what binds then.
        return {
            "highest_of_a_worker": most,
            "bytes_of_a_session": times.bytes_session_log + times.bytes_session_state + plan.costs.shard_overhead,
            "bytes_of_a_move": moved(times, hardware.copies)["shard"],
        }

    anew = replace(asked.fleet, times=bare, rebuilt_plies=hardware.plies)
    return {"stored": kept(asked.fleet, times), "rebuilt": kept(anew, bare)}


def fleets(asked: Asked) -> Answer:
    """Say what live sessions take, by their number, and what of it breaks first."""
    times, costs, hardware = asked.fleet.times, asked.fleet.costs, asked.hardware
    defaults = {name: float(Settings.model_fields[name].default) for name in ("state_ttl", "session_ttl")}
    return {
        "cell": described(asked.cell),
        "carried": carried(asked.cell, times, costs, hardware),
        "bytes_of_a_move": moved(times, hardware.copies),
        "fleets": [
            fleet(sessions, asked.cell, times, costs, hardware)
            | {"memory": memory(sessions, times, costs, hardware, **defaults)}
            for sessions in SESSIONS
        ],
    }


def _several(asked: Asked) -> tuple[Plan, float]:
    """Give some cells that share their shards, of at least four workers and two shards, and their planned load."""
    cells = max(2, math.ceil(4 / asked.cell.workers))
    return replace(asked.fleet, shards=cells, workers=cells * asked.cell.workers), cells * asked.cell.planned


def losses(asked: Asked) -> list[Answer]:
    """Let workers be gone for good, and nobody send to them any more, at the planned load."""
    plan, rate = _several(asked)
    answers = []
    for gone in range(plan.workers // 2 + 1):
        run = simulate(replace(plan, workers=plan.workers - gone), Open(rate, max(asked.aim.requests, int(rate))))
        answers.append({"workers": plan.workers, "gone": gone} | summary(run))
        if run.quantile(0.99) > 10 * asked.aim.p99:
            break
    return answers


def failures(asked: Asked) -> Answer:
    """Let something fail for a while, and say how long what was sent at each time took."""
    plan, rate = _several(asked)
    answers: Answer = {"workers": plan.workers, "shards": plan.shards, "rate": rate, "begins": _FAILS, "lasts": _LASTS}
    answers["failures"] = {}
    for name, (what, caution) in _FAILURES.items():
        run = simulate(plan, Open(rate, int(rate * _SECONDS)), [Failure(what, _FAILS, _LASTS)], caution)
        hit = run.shard == 0
        whose = {"all": hit | ~hit} if what == "worker" else {"its sessions": hit, "others": ~hit}
        over_time = {of: _over_time(run.sent[rows], run.took[rows], asked.aim) for of, rows in whose.items()}
        answers["failures"][name] = {"outcomes": run.outcomes, "sessions": over_time}
    return answers


def _over_time(sent: Floats, took: Floats, aim: Aim) -> Answer:
    bins = np.floor(sent / _BIN).astype(int)
    numbers = np.unique(bins)
    late = sent[took > aim.p99]
    return {
        "time": [float(number * _BIN) for number in numbers],
        "p99": [float(np.quantile(took[bins == number], 0.99)) for number in numbers],
        "slowest": float(took.max()),
        "late": len(late) / len(sent),
        "late_until": float(late.max()) if len(late) else None,
    }


QUESTIONS: Sequence[Callable[[Asked], Any]] = (
    check,
    connections,
    loads,
    parts,
    fleets,
    spread,
    rebuilt,
    losses,
    failures,
)


def ask(machine: Plan, aim: Aim, hardware: Hardware, answered: Callable[[str], object]) -> Answer:
    """Ask everything of the model of a plan; ``answered`` is told the name of each question that is through."""
    fleet = replace(machine, cores=None, client=0.0, shards=1)
    cell = find_cell(fleet, aim)
    answered("cell")
    asked = Asked(machine, fleet, aim, hardware, cell)
    answers: Answer = {"model": machine.times.model}
    for question in QUESTIONS:
        answers[question.__name__] = question(asked)
        answered(question.__name__)
    return answers
