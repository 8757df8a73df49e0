"""Reads what is counted, in every process of the service, and gives it as Prometheus reads it."""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import REGISTRY as OF_THIS_PROCESS
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Where the processes of one service count together; the library reads it when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

_OF_A_MODEL = ["model", "version"]
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)


class Tally:
    """One series of a histogram, in plain numbers until it is handed over.

    Counted at once, each value would cost 4 µs where processes count together; so it costs a quarter of one. Only the
    event loop may use it.
    """

    __slots__ = ("_bounds", "_counts", "_series", "_sum")

    def __init__(self, series: Histogram, bounds: Sequence[float]) -> None:
        """Take the series and the upper bounds of its buckets."""
        self._series, self._bounds = series, bounds
        self._counts, self._sum = [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def hand_over(self) -> None:
        """Let the library have what was counted since the last time."""
        if not any(self._counts):
            return
        # The library takes values one by one; these places of its own have stayed as they are since its first version.
        for bucket, count in zip(self._series._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._series._sum.inc(self._sum)
        self._counts, self._sum = [0] * len(self._counts), 0.0


class Tallies:
    """A histogram whose series are tallies, one for each set of labels; these have to be few."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """Take what the library takes."""
        self._histogram, self._bounds = Histogram(name, documentation, labels, buckets=bounds), bounds
        self._tallies: dict[tuple[str, ...], Tally] = {}

    def of(self, *labels: str) -> Tally:
        """Give the series of some labels."""
        if labels not in self._tallies:
            self._tallies[labels] = Tally(self._histogram.labels(*labels), self._bounds)
        return self._tallies[labels]

    def hand_over(self) -> None:
        """Hand over all series."""
        for tally in self._tallies.values():
            tally.hand_over()


class Level:
    """How much of something there is now in this process: a plain number until it is handed over."""

    __slots__ = ("_series", "value")

    def __init__(self, series: Gauge) -> None:
        """Begin at 0."""
        self._series, self.value = series, 0

    def hand_over(self) -> None:
        """Let the library have the number."""
        self._series.set(self.value)


request_seconds = Tallies(
    "nextply_request_seconds",
    "Requests, and the time until their answer begins; status none if the client left before",
    ["route", "method", "status"],
    _SECONDS,
)
problems = Counter("nextply_problems", "Errors that were answered, those of single steps too", ["status", "code"])
problems.labels("500", "internal_error")
sessions_rebuilt = Counter("nextply_sessions_rebuilt", "Sessions whose state was computed again from their moves")
sessions_forgotten = Counter("nextply_sessions_forgotten", "Sessions that lost their state, or all of them", ["what"])
for _lost in ("state", "session"):
    sessions_forgotten.labels(_lost)
sessions_kept = Gauge(
    "nextply_sessions_kept",
    "Sessions in the store, and those of them with their state; a Valkey does not tell",
    ["what"],
    multiprocess_mode="mostrecent",
)
opening_steps = Counter(
    "nextply_opening_steps",
    "Steps at the beginnings of games, taken by the network or shared with an earlier game",
    ["how"],
)
streams_open = Gauge("nextply_streams_open", "WebSockets and event streams that are open", multiprocess_mode="livesum")
store_seconds = Tallies(
    "nextply_store_seconds", "Calls to the store, each for many sessions, and their time", ["operation"], _SECONDS
)
queue_seconds = Tallies(
    "nextply_queue_seconds", "Time that steps asked for together waited for the network", _OF_A_MODEL, _SECONDS
)
step_seconds = Tallies("nextply_step_seconds", "Steps of the network, and their time", _OF_A_MODEL, _SECONDS)
_rows = Tallies("nextply_tick_rows", "Rows of a step of the network", _OF_A_MODEL, _ROWS)
_waiting = Gauge("nextply_steps_waiting", "Steps that wait for the network", _OF_A_MODEL, multiprocess_mode="livesum")
requests_running = Level(
    Gauge("nextply_requests_running", "Requests whose answer has not begun yet", multiprocess_mode="livesum")
)


class Meter:
    """What is counted of the scheduler of a model."""

    def __init__(self, model: str, version: str) -> None:
        """Begin at what was counted of this version before."""
        self._queue, self._step = queue_seconds.of(model, version), step_seconds.of(model, version)
        self._rows = _rows.of(model, version)
        self.waiting = _levels.setdefault((model, version), Level(_waiting.labels(model, version)))
        """Steps that wait for the network."""

    def waited(self, seconds: float) -> None:
        """Count how long steps that were asked for together waited."""
        self._queue.add(seconds)

    def ticked(self, rows: int, seconds: float) -> None:
        """Count a step of the network."""
        self._rows.add(rows)
        self._step.add(seconds)


_levels: dict[tuple[str, str], Level] = {}
_TALLIES = request_seconds, store_seconds, queue_seconds, step_seconds, _rows


def hand_over() -> None:
    """Let other processes see what this one has counted."""
    counted: list[Tallies | Level] = [*_TALLIES, requests_running, *_levels.values()]
    for one in counted:
        one.hand_over()


def scrape() -> bytes:
    """Give all metrics in Prometheus' text format; what other processes counted in the last second may be missing."""
    return generate_latest(_registry())


def samples(*names: str) -> Iterator[Sample]:
    """Give the samples of some metrics as they are scraped."""
    return (sample for metric in _registry().collect() if metric.name in names for sample in metric.samples)


def _registry() -> CollectorRegistry:
    hand_over()
    if SHARED not in os.environ:
        return OF_THIS_PROCESS
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
