"""Reads what is counted, in every process of the service, and gives it as Prometheus reads it."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client import REGISTRY as OF_THIS_PROCESS
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Where the processes of one service count together; the library reads it when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

sessions_rebuilt = Counter("nextply_sessions_rebuilt", "Sessions whose state was computed again from their moves")
sessions_forgotten = Counter("nextply_sessions_forgotten", "Sessions that lost their state, or all of them", ["what"])
opening_steps = Counter(
    "nextply_opening_steps",
    "Steps at the beginnings of games, taken by the network or shared with an earlier game",
    ["how"],
)


def scrape() -> bytes:
    """Give all metrics in Prometheus' text format."""
    if SHARED not in os.environ:
        return generate_latest(OF_THIS_PROCESS)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
