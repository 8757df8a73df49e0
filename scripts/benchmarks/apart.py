"""Reads a setting and gives what two services that share nothing do, which is what two workers of one may come to."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import fmean

from tqdm import tqdm

from scripts.benchmarks import single_moves
from scripts.benchmarks.contenders import Contender, ours
from scripts.benchmarks.figures import Run
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh

ONE, HALF, APART, TOGETHER = "one worker", "one worker, half the load", "two services", "two workers"
_CONNECTIONS = 64
_SUMS, _MEANS = ("requests_per_second", "server_cores", "client_cores"), ("p50", "p99")


def measure(setting: Setting) -> list[Run]:
    """Measure each ``way`` in turn, round by round, with 64 connections or half of them; BenchmarkError if one fails.

    A run has the ``connections`` of one service, and of all of them together ``requests_per_second``, the cores that
    they and the load generators took, and ``requests_per_cpu_second``; ``p50`` and ``p99`` are their means, in seconds.
    """
    runs: list[Run] = []
    for round_ in tqdm(range(setting.rounds), "apart: rounds"):
        for model in setting.models:
            with fresh(setting.work / "apart") as folder, ExitStack() as stack:
                one, other, pair = (
                    stack.enter_context(ours(setting, model, folder / name, workers))
                    for name, workers in (("one", 1), ("other", 1), ("pair", 2))
                )
                ways = {
                    ONE: ([one], _CONNECTIONS),
                    HALF: ([one], _CONNECTIONS // 2),
                    APART: ([one, other], _CONNECTIONS // 2),
                    TOGETHER: ([pair], _CONNECTIONS),
                }
                for way, (services, connections) in tqdm(ways.items(), "apart", leave=False):
                    label = {"model": model, "way": way, "connections": connections, "round": round_}
                    runs.append(label | _at_once(services, way, connections, setting.seconds))
    return runs


def _at_once(services: Sequence[Contender], way: str, connections: int, seconds: float) -> dict[str, float]:
    """Load each service with a generator of its own at the same time; give what came of all of them."""
    tag = way.replace(" ", "").replace(",", "")
    ready = [(service, service.load(tag, connections, seconds)) for service in services]
    with ThreadPoolExecutor(len(ready)) as pool:
        found = list(pool.map(lambda one: single_moves.send(*one, connections, seconds), ready))
    figures = {name: sum(one[name] for one in found) for name in _SUMS}
    figures |= {name: fmean(one[name] for one in found) for name in _MEANS}
    per_cpu_second = figures["requests_per_second"] / max(figures["server_cores"], 1e-9)
    return figures | {"requests_per_cpu_second": per_cpu_second}
