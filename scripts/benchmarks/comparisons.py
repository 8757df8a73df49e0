"""Reads the runs of single moves and gives what is compared: the best of each server, and two workers with one."""

from collections.abc import Sequence

from scripts.benchmarks.figures import Run, matching, middle, ratio, values

# What two workers and the load generator share.
CORES = 2


def best(runs: Sequence[Run], model: str, server: str, connections: int) -> Run | None:
    """Give the configuration of a server with the most requests a second; None if it was not measured."""
    at = {"model": model, "server": server, "connections": connections}
    counts = values(matching(runs, **at), "workers")
    if not counts:
        return None
    return at | {
        "workers": max(counts, key=lambda count: middle(runs, "requests_per_second", workers=count, **at) or 0)
    }


def scaled(runs: Sequence[Run], one: Run, two: Run) -> tuple[float | None, float | None, float | None]:
    """Give how many times as much ``two`` workers do as ``one``: raw, and without the load generator's share, twice.

    By free cores: the two had 2 cores less what the generator took, and would do as much more on 2 cores. By processor
    seconds: twice what a processor second gets done with two workers, to what it gets done with one. The second says
    nothing of waiting for locks, the first nothing of a generator that waits; a promise is held by the smaller.
    """
    raw = ratio(runs, "requests_per_second", two, one)
    work = ratio(runs, "requests_per_cpu_second", two, one)
    client = middle(runs, "client_cores", **two)
    free = None if raw is None or client is None or client >= CORES else raw * CORES / (CORES - client)
    return raw, free, None if work is None else CORES * work
