"""Reads how long inference requests took and gives what Triton's statistics extension tells of a model."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import Gauge, Summary
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import scrape
from service.models import Model

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
# Told of no model: steps are shared by requests of every interface, and there is no cache of answers.
_NOT_TOLD = ("queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


@contextmanager
def counted(model: Model) -> Iterator[None]:
    """Count what is done in the block as an inference of a model; one that raises has failed."""
    begun, outcome = time.perf_counter(), "fail"
    try:
        yield
        outcome = "success"
    finally:
        _seconds.labels(model.name, model.version, outcome).observe(time.perf_counter() - begun)
        _last.labels(model.name, model.version).set(time.time())


def statistics(models: list[Model]) -> dict[str, Any]:
    """Give the statistics of models, over all processes of the service since it started."""
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(scrape().decode())
        if family.name.startswith("nextply_v2_")
        for sample in family.samples
    }
    return {"model_stats": [_of(model, samples) for model in models]}


def _of(model: Model, samples: Mapping[_Sample, float]) -> dict[str, Any]:
    def value(name: str, **labels: str) -> float:
        labels |= {"model": model.name, "version": model.version}
        return samples.get((name, frozenset(labels.items())), 0)

    def duration(outcome: str) -> dict[str, int]:
        seconds = value("nextply_v2_seconds_sum", outcome=outcome)
        return {"count": int(value("nextply_v2_seconds_count", outcome=outcome)), "ns": round(seconds * 1e9)}

    success = duration("success")
    told = {"success": success, "fail": duration("fail")}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(value("nextply_v2_last_inference_seconds") * 1000),
        "inference_count": success["count"],
        "execution_count": 0,
        "inference_stats": told | {name: {"count": 0, "ns": 0} for name in _NOT_TOLD},
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }
