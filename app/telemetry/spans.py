"""OpenTelemetry, behind tracing.py, which imports this module only where there is an endpoint."""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from app.telemetry.tracing import Attributes, Kind

SERVICE = "sovereign-assistant-api"
EXPORT_TIMEOUT_S = 2
"""A stop waits so long, and some seconds more, for a collector that does not answer."""


class Spans:
    """Makes spans and sends them to an endpoint."""

    def __init__(self, endpoint: str, version: str) -> None:
        resource = Resource({"service.name": SERVICE, "service.version": version})
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE, version)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: Context | None, attributes: Attributes
    ) -> Generator[None, None, None]:
        """Trace a block (see tracing.span)."""
        if parent is None and kind == "INTERNAL" and self.traceparent() is None:
            yield  # a chore of ours, such as a flush for all turns: part of no trace, and none of its own
            return
        origin = trace.get_current_span(parent).get_span_context() if parent is not None else None
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=trace.SpanKind[kind],
            attributes=dict(attributes),
            links=[trace.Link(origin)] if origin is not None and origin.is_valid else (),
            record_exception=False,
            set_status_on_exception=False,
        ) as traced:
            try:
                yield
            except BaseException as error:
                traced.set_attribute("error.type", type(error).__qualname__)
                if isinstance(error, Exception):
                    traced.set_status(trace.StatusCode.ERROR)
                raise

    def here(self) -> Context:
        """Return where the trace is."""
        return context.get_current()

    def note(self, attributes: Attributes) -> None:
        """Add to the span that is open."""
        trace.get_current_span().set_attributes(dict(attributes))

    def traceparent(self) -> str | None:
        """Return W3C's name of the span that is open, if there is one."""
        place = trace.get_current_span().get_span_context()
        if not place.is_valid:
            return None
        return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"
