"""Traces, when an OTLP endpoint is set; otherwise each call here is a comparison, and OpenTelemetry is not imported.

Spans have no content, and of an error its kind alone: words of errors quote what was being read.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from app.telemetry.spans import Spans

Attributes = Mapping[str, str | int]
Kind = Literal["INTERNAL", "SERVER", "CLIENT"]

NOTHING: Attributes = {}

_spans: "Spans | None" = None
_off = nullcontext()


def start_tracing(endpoint: str, version: str) -> None:
    """Send spans from now on to an OTLP/HTTP endpoint, in batches, from a thread of its own."""
    from app.telemetry.spans import Spans  # noqa: PLC0415 - 0.1 s and 9 MB that nobody pays without an endpoint

    global _spans
    _spans = Spans(endpoint, version)


def stop_tracing() -> None:
    """Send what is left, and no more from now on. Waits for the endpoint, some seconds at most."""
    global _spans
    spans, _spans = _spans, None
    if spans is not None:
        spans.close()


def span(
    name: str, *, kind: Kind = "INTERNAL", parent: Any = None, attributes: Attributes = NOTHING
) -> AbstractContextManager[None]:
    """Trace a block. `parent` is what `here` returned, for work that a request began and another task does: it is in
    the request's trace, and linked to it, since it goes on when the request is over.
    """
    return _off if _spans is None else _spans.span(name, kind, parent, attributes)


def here() -> Any:
    """Return where a trace is now, for work that another task will do; None when nothing is traced."""
    return None if _spans is None else _spans.here()


def note(attributes: Attributes) -> None:
    """Say more of the block that is being traced."""
    if _spans is not None:
        _spans.note(attributes)


def headers() -> dict[str, str]:
    """Return what tells another server that its work belongs to this trace."""
    parent = None if _spans is None else _spans.traceparent()
    return {} if parent is None else {"traceparent": parent}


def trace_id() -> str | None:
    """Return the id of the trace that is being written, for log lines."""
    parent = None if _spans is None else _spans.traceparent()
    return None if parent is None else parent.split("-")[1]
