"""Reads the standard OTEL_ variables and gives traces: a span for each request, and in it what its time was spent on.

Without the extra ``otel`` or the variables there is none, and nothing of OpenTelemetry is loaded.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.types import Scope

from service.timing import BATCH, NETWORK, SCHEDULER, Event, Timing

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_log = logging.getLogger("nextply")
_ENDPOINTS = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
_CARRIED = b"traceparent", b"tracestate"
_SERVICE = "nextply"
# Seconds in which the last spans have to be sent.
_LAST_SENT = 2
# Statuses from here on are the service's failures.
_FAILURES = 500


def open_traces(environment: Mapping[str, str] = os.environ) -> "Traces | None":
    """Give traces that go to the OTLP endpoint which the variables name; None if they name none."""
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp" or environment.get("OTEL_SDK_DISABLED") == "true":
        return None
    if not any(map(environment.get, _ENDPOINTS)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        _log.warning("no traces, though OTEL_ variables ask for them: %s; install nextply[otel]", error)
        return None
    name = environment.get("OTEL_SERVICE_NAME") or _SERVICE
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


class Traces:
    """Makes spans of requests."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Take what decides which are kept and where they go; it is shut down by ``close``."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._tracer = provider, provider.get_tracer(_SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Send what was not sent yet, if whoever takes it is there; a stop does not wait for them for long."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_LAST_SENT)

    def begin(self, scope: Scope, timing: Timing) -> "Span":
        """Give the span of a request that begins, in the trace that its headers name, if they do."""
        from opentelemetry.trace import SpanKind, format_trace_id

        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
        within = self._propagator.extract(carrier)
        span = self._tracer.start_span(scope.get("method", "GET"), within, SpanKind.SERVER)
        timing.trace = format_trace_id(span.get_span_context().trace_id)
        if span.is_recording():
            timing.events = []
        return span

    def end(self, span: "Span", timing: Timing, scope: Scope, route: str, status: int) -> None:
        """End the span of a request, ``status`` 0 if it got no answer, with a span in it for each stretch of time."""
        from opentelemetry.trace import StatusCode, set_span_in_context

        if span.is_recording():
            method = scope.get("method", "GET")
            span.update_name(f"{method} {route}")
            about = {"http.request.method": method, "http.route": route, "http.response.status_code": status or None}
            ids = {"nextply.request": timing.request_id.decode(), "nextply.session": timing.session}
            span.set_attributes({name: value for name, value in (about | ids).items() if value is not None})
            if not 0 < status < _FAILURES:
                span.set_status(StatusCode.ERROR)
            self._add_parts(timing.all_events(), set_span_in_context(span))
        span.end()

    def _add_parts(self, events: list[Event], within: "Context") -> None:
        # Both clocks are read at the same moment, so that what one of them measured can be told in the other's time.
        zero = time.time_ns() - time.perf_counter_ns()
        for event in events:
            name, attributes = _told(event)
            begun, ended = (zero + round(moment * 1e9) for moment in (event.begun, event.ended))
            self._tracer.start_span(name, within, start_time=begun, attributes=attributes).end(ended)


def _told(event: Event) -> tuple[str, dict[str, str | int]]:
    """Give the name and the attributes of the span of a stretch of time."""
    if event.part == BATCH:
        return "queue", {"nextply.steps": event.about}
    if event.part == SCHEDULER:
        return "scheduler", {"nextply.steps": event.about}
    if event.part == NETWORK:
        return "tick", {"nextply.rows": event.about}
    return f"store {event.about}", {}
