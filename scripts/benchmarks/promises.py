"""Reads the results of all parts and gives what was promised before it was built, and what was measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.benchmarks.comparisons import best, scaled
from scripts.benchmarks.figures import Run, matching, middle, ratio, values
from scripts.benchmarks.game_length import RESENT, SESSION
from scripts.benchmarks.one_client import HTTP, IN_MEMORY, STEP
from scripts.benchmarks.setting import CHESS, TOKENS
from scripts.benchmarks.tables import number
from scripts.pages import table

Results = Mapping[str, Sequence[Run]]


@dataclass(frozen=True)
class Promise:
    """A figure and the bound that it is to keep."""

    what: str
    bound: float
    most: bool
    """Whether the bound is the most that is allowed; else it is the least."""
    measure: Callable[[Results], float | None]
    """Gives the figure; None if it was not measured."""
    digits: int = 2

    def holds(self, results: Results) -> bool | None:
        """Say whether the figure keeps its bound; None if it was not measured."""
        found = self.measure(results)
        return None if found is None else (found <= self.bound if self.most else found >= self.bound)


def _to_triton(figure: str, model: str, connections: int) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        runs = results.get("http", [])
        ours, theirs = (best(runs, model, server, connections) for server in ("nextply", "triton"))
        return None if ours is None or theirs is None else ratio(runs, figure, ours, theirs)

    return measure


def _moves(part: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        runs = matching(results.get(part, []), model=TOKENS)
        kinds = {(run["workers"], run["connections"]) for run in runs}
        rates = [middle(runs, "moves_per_second", workers=kind[0], connections=kind[1]) or 0 for kind in kinds]
        return max(rates, default=None)

    return measure


def _plies(of: Mapping[str, Any], to: Mapping[str, Any], choose: Callable[[list[float]], float]) -> Any:
    def measure(results: Results) -> float | None:
        runs = results.get("plies", [])
        found = [ratio(runs, "cpu", {"model": m, **of}, {"model": m, **to}) for m in values(runs, "model")]
        return choose([value for value in found if value is not None]) if None not in found and found else None

    return measure


def _scaling(results: Results) -> float | None:
    one, two = ({"server": "nextply", "model": TOKENS, "connections": 64, "workers": count} for count in (1, 2))
    found = scaled(results.get("http", []), one, two)[1:]
    return None if None in found else min(value for value in found if value is not None)


def _cliff(results: Results) -> float | None:
    runs = matching(results.get("http", []), server="nextply", model=TOKENS)
    found = []
    for workers in values(runs, "workers"):
        at = {"workers": workers, "connections": 64}
        beyond = [count for count in values(runs, "connections") if count > 64]
        found += [ratio(runs, "requests_per_second", at | {"connections": count}, at) for count in beyond]
    return min((value for value in found if value is not None), default=None)


def _start(figure: str, unit: float) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        found = middle(results.get("starts", []), figure, server="nextply", model=CHESS)
        return None if found is None else found / unit

    return measure


def _alone(results: Results) -> float | None:
    runs = matching(results.get("client", []), model=TOKENS)
    move, step, http = (middle(runs, "p50", what=what) for what in (IN_MEMORY, STEP, HTTP))
    return None if move is None or step is None or http is None else 1000 * (move - step - http)


_SESSION_500, _SESSION_10 = {"way": SESSION, "ply": 500}, {"way": SESSION, "ply": 10}
PROMISES = (
    Promise("tokens, 64 connections: requests/s to Triton's", 3, False, _to_triton("requests_per_second", TOKENS, 64)),
    Promise("tokens, 64 connections: p99 to Triton's", 0.5, True, _to_triton("p99", TOKENS, 64)),
    Promise("tokens, 1 connection: p50 to Triton's", 0.5, True, _to_triton("p50", TOKENS, 1)),
    Promise("chess, 64 connections: requests/s to Triton's", 1.5, False, _to_triton("requests_per_second", CHESS, 64)),
    Promise("`/steps` with 64 sessions: moves/s", 25_000, False, _moves("steps"), 0),
    Promise("WebSocket, sent ahead: moves/s", 12_000, False, _moves("streams"), 0),
    Promise("CPU of a move at ply 500 to ply 10", 1.1, True, _plies(_SESSION_500, _SESSION_10, max)),
    Promise(
        "CPU of the whole game at ply 100 to a session's move",
        30,
        False,
        _plies({"way": RESENT, "ply": 100}, {"way": SESSION, "ply": 100}, min),
        1,
    ),
    Promise("two workers to one, without the load generator", 1.7, False, _scaling),
    Promise("requests/s beyond 64 connections to those at 64", 0.8, False, _cliff),
    Promise("tokens in memory, 1 connection: p50 beyond step and HTTP, ms", 0.15, True, _alone),
    Promise("resident with the chess model, MiB", 200, True, _start("resident", 1 << 20), 0),
    Promise("ready after, s", 2, True, _start("cold_start", 1)),
)


def promises(results: Results) -> str:
    """Give a table of all promises."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        [
            promise.what,
            f"{'≤' if promise.most else '≥'} {promise.bound:,g}",
            number(promise.measure(results), promise.digits),
            words[promise.holds(results)],
        ]
        for promise in PROMISES
    ]
    return table(["promised", "bound", "measured", "kept"], rows)
