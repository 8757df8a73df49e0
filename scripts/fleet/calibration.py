"""Reads a plan and what was measured, and gives the plan with what no benchmark of parts shows, and how it agrees.

That is how much times vary. It is chosen so that p99 of the runs of one worker agrees, and where every core is busy
that of two services that share nothing; throughput hardly depends on it. The runs of more workers take no part, so that
they are a test.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from scripts.fleet.plan import Closed, Plan
from scripts.fleet.simulation import Run, simulate
from scripts.fleet.times import Measured

# How much a machine varies whose cores are all busy.
_CROWD_NOISES = 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4
_NOISES = 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4
# Requests of a simulation that is one of many.
_REQUESTS = 4000
# Connections under whose load the benchmarks take the CPU of a request.
_BUSY = 64
WITHIN = 0.15


@dataclass(frozen=True)
class Agreement:
    """A measured run beside its simulation."""

    measured: Measured
    run: Run

    @property
    def throughput(self) -> float:
        """Simulated requests a second, as a part of what was measured."""
        return self.run.per_second / self.measured.requests_per_second

    @property
    def p99(self) -> float:
        """Simulated p99, as a part of what was measured."""
        return self.run.quantile(0.99) / self.measured.p99

    def described(self) -> dict[str, Any]:
        """Give it as it is written to a file."""
        run = self.run
        figures = {"requests_per_second": run.per_second, "p50": run.quantile(0.5), "p99": run.quantile(0.99)}
        ratios = {"throughput": self.throughput, "p99": self.p99}
        within = {name: bool(abs(ratio - 1) <= WITHIN) for name, ratio in ratios.items()}
        return {"measured": self.measured.model_dump(), "simulated": figures, "ratio": ratios, "within": within}


def agree(plan: Plan, measured: Measured, requests: int) -> Agreement:
    """Simulate a measured run: its workers and the load generator share the cores of ``plan``."""
    plan = replace(plan, workers=measured.workers, shards=0)
    return Agreement(measured, simulate(plan, Closed(measured.connections, max(requests, 10 * measured.connections))))


def without_hops(plan: Plan) -> Plan:
    """Take out of the times of HTTP what is simulated by itself, and what the benchmarks cannot tell from them.

    These are ways between threads, and what the processor does for the disk: of a batch what one move alone takes, and
    of a request what it takes more when many are kept together.
    """
    alone, full = (simulate(replace(plan, workers=1, shards=0), Closed(load, _REQUESTS)) for load in (1, _BUSY))
    times, batch = plan.times, _beside(alone)
    request = _beside(full) - batch / full.rows_of_commit
    bare = {"http_batch": max(0.0, times.http_batch - batch), "http_request": max(0.0, times.http_request - request)}
    return replace(plan, times=times.model_copy(update=bare))


def _beside(run: Run) -> float:
    return sum(run.busy[name] for name in ("worker hop", "kernel")) / run.per_second


def calibrate(plan: Plan) -> Plan:
    """Give a plan without hops whose times vary as they do where one worker was measured; as it is if none was."""
    alone = [run for run in plan.times.measured if run.workers == 1]
    if not alone:
        return plan
    bare = without_hops(plan)

    def distance(noise: float) -> float:
        return sum(math.log(agree(replace(bare, noise=noise), run, _REQUESTS).p99) ** 2 for run in alone)

    bare = replace(bare, noise=min(_NOISES, key=distance))
    apart = plan.times.apart
    if apart is None:
        return bare
    crowds = [replace(bare, crowd_noise=noise, apart=True) for noise in _CROWD_NOISES]
    best = min(crowds, key=lambda crowd: abs(math.log(agree(crowd, apart, _REQUESTS).p99)))
    return replace(best, apart=False)
