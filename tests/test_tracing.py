"""Traces: off unless asked for; else a span for each request, and in it those of its ticks and of the store."""

import asyncio
import gzip
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from service.app import create_app
from service.settings import Settings
from service.tracing import Traces, open_traces
from tests.serving import Client, Process

pytestmark = pytest.mark.anyio

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(scope="module")
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
async def client(artifacts: Path, exported: InMemorySpanExporter) -> AsyncIterator[Client]:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON))
    provider.add_span_processor(SimpleSpanProcessor(exported))
    app = create_app(Settings(artifacts=artifacts, store="memory", positions=0), Traces(provider))
    async with app.router.lifespan_context(app), Client(app) as client:
        for number in range(6):
            await client.ok("POST", "/sessions", {"session": f"table-{number}", "model": "colours"})
        yield client


@pytest.fixture(autouse=True)
def empty(client: Client, exported: InMemorySpanExporter) -> None:
    exported.clear()


def spans_of(exported: InMemorySpanExporter, trace: str | None = None) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Give the span of the only request of a trace, and those within it, in the order of their beginning."""
    spans = [one for one in exported.get_finished_spans() if trace in (None, f"{one.context.trace_id:032x}")]
    (request,) = [one for one in spans if one.kind is SpanKind.SERVER]
    within = [one for one in spans if one is not request]
    for span in within:
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time
    return request, sorted(within, key=lambda span: span.start_time)


async def test_a_move_is_traced_from_request_to_tick_to_store(client: Client, exported: InMemorySpanExporter):
    response = await client.post(
        "/sessions/table-0/moves", json={"moves": ["red"]}, headers={"x-request-id": "caller-1"}
    )
    request, within = spans_of(exported)
    assert request.name == "POST /sessions/{session}/moves"
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/sessions/{session}/moves",
        "http.response.status_code": 200,
        "nextply.request": "caller-1",
        "nextply.session": "table-0",
    }
    assert [span.name for span in within] == ["queue", "store load", "scheduler", "tick", "store commit"]
    assert within[0].attributes == within[2].attributes == {"nextply.steps": 1}
    assert within[3].attributes == {"nextply.rows": 1}
    assert request.status.status_code is StatusCode.UNSET
    took = response.headers["server-timing"]
    store = sum(span.end_time - span.start_time for span in within if span.name.startswith("store"))
    # Spans begin and end on a clock of microseconds.
    assert float(took.rpartition("=")[2]) == pytest.approx(store / 1e6, abs=0.01)


async def test_a_request_goes_on_with_the_trace_of_its_caller(client: Client, exported: InMemorySpanExporter):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    await client.get("/sessions/table-0", headers=headers)
    request, _ = spans_of(exported)
    assert f"{request.context.trace_id:032x}" == TRACE
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    assert request.context.trace_state.get("vendor") == "1"


@pytest.mark.parametrize("header", ["", "00-0-0-01", f"00-{TRACE}-{'0' * 16}-01", "ä" * 60])
async def test_a_trace_that_cannot_be_read_is_begun_anew(client: Client, exported: InMemorySpanExporter, header: str):
    assert (await client.get("/models", headers={"traceparent": header.encode()})).status_code == 200
    assert spans_of(exported)[0].parent is None


async def test_what_the_caller_does_not_sample_is_not_kept(client: Client, exported: InMemorySpanExporter):
    response = await client.post(
        "/sessions/table-0/moves", json={"moves": ["red"]}, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}
    )
    assert "server-timing" in response.headers
    assert exported.get_finished_spans() == ()


async def test_moves_that_shared_a_tick_have_it_each_in_their_own_trace(client: Client, exported: InMemorySpanExporter):
    traces = [f"{number + 1:032x}" for number in range(6)]
    answers = await asyncio.gather(
        *(
            client.post(
                f"/sessions/table-{number}/moves",
                json={"moves": ["green"]},
                headers={"traceparent": f"00-{trace}-{PARENT}-01"},
            )
            for number, trace in enumerate(traces)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    rows = Counter[int]()
    for number, trace in enumerate(traces):
        request, within = spans_of(exported, trace)
        assert request.attributes["nextply.session"] == f"table-{number}"
        assert {"queue", "store load", "scheduler", "tick", "store commit"} == {span.name for span in within}
        rows.update(span.attributes["nextply.rows"] for span in within if span.name == "tick")
    assert max(rows) > 1
    assert sum(rows.values()) == 6


async def test_a_long_game_has_a_span_for_each_tick_up_to_a_limit(client: Client, exported: InMemorySpanExporter):
    for moves, ticks in ((9, 10), (1000, 128)):
        exported.clear()
        await client.ok("POST", "/predict", {"model": "pages", "sequences": [["home"] * moves]})
        _, within = spans_of(exported)
        assert sum(span.name == "tick" for span in within) in range(ticks - 8, ticks + 1)
        assert sum(span.name == "scheduler" for span in within) == 1


async def test_a_request_that_fails_is_marked(client: Client, exported: InMemorySpanExporter):
    await client.get("/nothing")
    request, _ = spans_of(exported)
    assert (request.name, request.status.status_code) == ("GET none", StatusCode.UNSET)
    exported.clear()
    client._transport.app.state.stopping.announce()  # type: ignore[attr-defined]
    try:
        await client.get("/health/ready")
    finally:
        client._transport.app.state.stopping._announced = False  # type: ignore[attr-defined]
    request, _ = spans_of(exported)
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes["http.response.status_code"] == 503


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://x", "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: "http://x", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(environment: dict[str, str]):
    assert open_traces(environment) is None


def test_a_service_that_traces_nothing_does_not_load_what_would():
    code = "import sys, service.process.worker as worker; assert worker.open_traces({}) is None; "
    code += "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Give the address of what takes traces as OpenTelemetry's own collector does, and what it took."""
    taken: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            taken.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


def test_the_standard_variables_say_where_traces_go(artifacts: Path, monkeypatch: pytest.MonkeyPatch):
    with collector() as (url, taken):
        monkeypatch.setenv(ENDPOINT, url)
        with Process(Settings(artifacts=artifacts, store="memory")) as process:
            httpx.post(f"{process.url}/predict", json={"sequences": [["e4"]]}).raise_for_status()
            process.terminate()
            code, written = process.wait()
    assert (code, "Traceback" in written) == (0, False)
    (resources,) = [one for request in taken for one in request.resource_spans]
    name = {attribute.key: attribute.value.string_value for attribute in resources.resource.attributes}["service.name"]
    spans = [span.name for scope in resources.scope_spans for span in scope.spans]
    assert name == "nextply"
    assert set(spans) == {"POST /predict", "scheduler", "tick"}


def test_a_collector_that_is_away_holds_nothing_up(artifacts: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    with Process(Settings(artifacts=artifacts, store="memory")) as process:
        httpx.post(f"{process.url}/predict", json={"sequences": [["e4"]]}).raise_for_status()
        process.terminate()
        begun = time.monotonic()
        code, _ = process.wait()
    assert code == 0
    # Left to itself the library would try for half a minute.
    assert time.monotonic() - begun < 15
