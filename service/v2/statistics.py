"""Reads how long inference requests took and gives what Triton's statistics extension tells of a model."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import Gauge, Summary

from service.metrics import samples
from service.models import Model
from service.timing import current_timing

# A series by its name and labels.
_Sample = tuple[str, frozenset[tuple[str, str]]]
_OF_A_MODEL = ["model", "version"]
_seconds = Summary("nextply_v2_seconds", "Inference requests at /v2, and their time", [*_OF_A_MODEL, "outcome"])
_last = Gauge(
    "nextply_v2_last_inference_seconds",
    "When the last inference request at /v2 was answered, seconds since 1970",
    _OF_A_MODEL,
    multiprocess_mode="max",
)
_parts = Summary(
    "nextply_v2_part_seconds", "What inference requests at /v2 that succeeded took of it", [*_OF_A_MODEL, "part"]
)
_METRICS = "nextply_v2_seconds", "nextply_v2_last_inference_seconds", "nextply_v2_part_seconds", "nextply_step_seconds"
# Not told apart from the rest of a request; and there is no cache of answers.
_NOT_TOLD = ("compute_input", "compute_output", "cache_hit", "cache_miss")


@contextmanager
def counted(model: Model) -> Iterator[None]:
    """Count what is done in the block as an inference of a model; one that raises has failed."""
    begun, outcome = time.perf_counter(), "fail"
    try:
        yield
        outcome = "success"
        _count_parts(model)
    finally:
        _seconds.labels(model.name, model.version, outcome).observe(time.perf_counter() - begun)
        _last.labels(model.name, model.version).set(time.time())


def _count_parts(model: Model) -> None:
    timing = current_timing()
    if timing is not None:
        queue, network, _ = timing.seconds()
        _parts.labels(model.name, model.version, "queue").observe(queue)
        _parts.labels(model.name, model.version, "compute_infer").observe(network)


def statistics(models: list[Model]) -> dict[str, Any]:
    """Give the statistics of models, over all processes of the service since it started."""
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples(*_METRICS)}
    return {"model_stats": [_of(model, found) for model in models]}


def _of(model: Model, found: Mapping[_Sample, float]) -> dict[str, Any]:
    def value(name: str, **labels: str) -> float:
        labels |= {"model": model.name, "version": model.version}
        return found.get((name, frozenset(labels.items())), 0)

    def duration(name: str, **labels: str) -> dict[str, int]:
        seconds = value(f"{name}_sum", **labels)
        return {"count": int(value(f"{name}_count", **labels)), "ns": round(seconds * 1e9)}

    success = duration("nextply_v2_seconds", outcome="success")
    told = {"success": success, "fail": duration("nextply_v2_seconds", outcome="fail")}
    told |= {part: duration("nextply_v2_part_seconds", part=part) for part in ("queue", "compute_infer")}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(value("nextply_v2_last_inference_seconds") * 1000),
        "inference_count": success["count"],
        "execution_count": int(value("nextply_step_seconds_count")),
        "inference_stats": told | {name: {"count": 0, "ns": 0} for name in _NOT_TOLD},
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }
