"""A trace of each turn, from the request that asked for it to the model server and the journal, by a real server that
sends its spans to a collector over OTLP/HTTP. Without a collector nothing of it is even loaded.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes import model_wire as wire
from tests.fakes.model_server import model_server
from tests.fixtures.calls import ended, new_assistant, new_run, new_thread
from tests.fixtures.processes import ROOT, api_process

pytestmark = pytest.mark.anyio

WORDS = "words-of-a-prompt"


class Told(NamedTuple):
    """What a server said of its work: its spans, what it sent to the model server, its log, and two runs."""

    spans: list[Span]
    traceparents: dict[str, str]
    log: list[dict[str, Any]]
    run: str
    thread: str


def attributes(span: Span) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@contextmanager
def collecting() -> Iterator[tuple[str, list[Span]]]:
    """Take spans over OTLP/HTTP in a thread, which listens while a server is waited for; yield where, and the spans."""
    taken: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known = (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            if known:
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    taken.extend(span for scope in group.scope_spans for span in scope.spans)
            self.send_response(200 if known else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing of each batch."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Told]:
    """Let a server with a collector carry out a run, one after the other, and a relayed stream; then stop it."""
    folder: Path = tmp_path_factory.mktemp("traces")
    with collecting() as (endpoint, spans):
        async with model_server() as model:
            env = {
                "API_KEY": "sk-traces",
                "DATABASE_URL": f"sqlite:///{folder}/store.db",
                "MODEL_URL": model.url,
                "RUN_CONCURRENCY": "1",
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            }
            with api_process(folder / "log", env) as (url, _):
                headers = {"Authorization": "Bearer sk-traces"}
                async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), headers=headers, timeout=10) as api:
                    assistant = await new_assistant(api, model=wire.MODEL)
                    threads = [await new_thread(api, WORDS) for _ in range(2)]
                    runs = [await new_run(api, thread, assistant) for thread in threads]
                    await asyncio.gather(*(ended(api, run) for run in runs))
                    body = {"model": wire.MODEL, "stream": True, "messages": [{"role": "user", "content": WORDS}]}
                    assert (await api.post("/v1/chat/completions", json=body)).status_code == 200
            asked = [one for one in model.requests if one.path == "/v1/chat/completions"]
            lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
            traceparents = {
                exchange.headers["traceparent"].split("-")[2]: exchange.headers["traceparent"] for exchange in asked
            }
            assert len(traceparents) == len(asked) == 3
            yield Told(spans, traceparents, lines, runs[1]["id"], threads[1])


def trace_of(told: Told, run: str) -> dict[str, list[Span]]:
    """Return the spans of a run's trace by their names."""
    (turn,) = [span for span in told.spans if attributes(span).get("sovereign.run.id") == run]
    found: dict[str, list[Span]] = {}
    for span in told.spans:
        if span.trace_id == turn.trace_id:
            found.setdefault(span.name, []).append(span)
    return found


def test_a_turn_is_one_trace_from_the_request_to_the_journal(told: Told) -> None:
    trace = trace_of(told, told.run)
    assert set(trace) == {"request", "auth", "write", "turn", "queue", "upstream", "journal"}
    (request,), (turn,), (upstream,) = trace["request"], trace["turn"], trace["upstream"]
    assert not request.parent_span_id
    assert {span.parent_span_id for span in (*trace["auth"], turn)} == {request.span_id}
    assert {span.parent_span_id for span in (*trace["queue"], upstream)} == {turn.span_id}
    assert all(span.parent_span_id in {turn.span_id, upstream.span_id} for span in trace["journal"])
    assert attributes(request)["http.route"] == "/v1/threads/{thread_id}/runs"


def test_work_that_outlives_its_request_is_linked_to_it(told: Told) -> None:
    trace = trace_of(told, told.run)
    (request,), (turn,) = trace["request"], trace["turn"]
    assert [(link.trace_id, link.span_id) for link in turn.links] == [(request.trace_id, request.span_id)]
    assert turn.end_time_unix_nano > request.end_time_unix_nano


def test_the_model_server_is_told_the_span_that_asks_it(told: Told) -> None:
    asking = {span.span_id.hex(): span for span in told.spans if span.name == "upstream"}
    assert asking.keys() == told.traceparents.keys()
    for span_id, header in told.traceparents.items():
        assert header[:-2] == f"00-{asking[span_id].trace_id.hex()}-{span_id}-"
        assert int(header[-2:], 16) & 1


def test_spans_of_a_model_say_what_generative_ai_is_said_with(told: Told) -> None:
    trace = trace_of(told, told.run)
    assert attributes(trace["upstream"][0])["gen_ai.operation.name"] == "chat"
    said = attributes(trace["turn"][0])
    assert said["gen_ai.operation.name"] == "invoke_agent"
    assert said["gen_ai.request.model"] == wire.MODEL
    assert said["gen_ai.usage.output_tokens"] > 0
    assert said["sovereign.surface"] == "run"


def test_no_span_tells_of_a_chunk_or_of_what_was_said(told: Told) -> None:
    assert not [span for span in told.spans if span.events]
    assert WORDS.encode() not in b"".join(span.SerializeToString() for span in told.spans)
    streamed = [span for span in told.spans if attributes(span).get("http.route") == "/v1/chat/completions"]
    (request,) = streamed
    assert sorted(span.name for span in told.spans if span.trace_id == request.trace_id) == [
        "auth",
        "request",
        "upstream",
    ]


def test_every_line_of_a_turn_has_the_ids_of_its_request_run_project_and_trace(told: Told) -> None:
    (request,) = trace_of(told, told.run)["request"]
    lines = [line for line in told.log if line.get("run_id") == told.run]
    assert [line["status"] for line in lines if line["message"] == "turn"] == ["queued", "in_progress", "completed"]
    assert {line["trace_id"] for line in lines} == {request.trace_id.hex()}
    (asked,) = [
        line for line in told.log if line["message"] == "request" and line.get("trace_id") == request.trace_id.hex()
    ]
    assert {line["request_id"] for line in lines} == {asked["request_id"]}
    assert {line["project_id"] for line in lines} == {asked["project_id"]}


def test_chores_and_who_asks_all_day_whether_the_server_is_well_leave_no_trace(told: Told) -> None:
    assert any(line.get("route", "").startswith("/health") for line in told.log)
    assert not [span for span in told.spans if str(attributes(span).get("http.route")).startswith("/health")]
    assert {span.name for span in told.spans if not span.parent_span_id} == {"request"}


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, app.server; print([name for name in sys.modules if 'opentelemetry' in name or 'protobuf' in name])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.strip() == "[]"
