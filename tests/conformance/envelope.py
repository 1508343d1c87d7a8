"""What holds for any answer: headers, statuses, the error envelope (openai_wire.md 4). Data only."""

from functools import cache

from .convert import Schema
from .extensions import RUN_EVENTS
from .shapes import shape

# No answer to these says anything about the API.
UNCHECKED_METHODS = frozenset({"HEAD", "OPTIONS"})
# Answers of these say nothing about the API: no envelope, no OpenAI headers. Administration is ours alone.
OUTSIDE_THE_API = ("/admin", "/health", "/docs", "/redoc", "/openapi.json", "/metrics")
# Answers of these are a file's bytes, whatever the document says.
RAW_CONTENT = frozenset({"GET /files/{file_id}/content"})
# Operations that stream though the document gives no text/event-stream answer for them.
STREAMED = {
    "POST /threads/runs": "assistants",
    "POST /threads/{thread_id}/runs": "assistants",
    "POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs": "assistants",
    RUN_EVENTS: "replay",
    "POST /responses": "response",
    "GET /responses/{response_id}": "resumed response",
}

HEADERS: dict[str, Schema] = {
    "x-request-id": {"minLength": 1},
    "openai-processing-ms": {"pattern": r"^[0-9]+$"},
    "openai-version": {"const": "2020-10-01"},
    "content-type": {"pattern": r"^(application/json|text/event-stream)(\s*;\s*charset=[\w-]+)?$"},
}
# Statuses that clients would take wrongly.
NEVER = {
    409: "SDKs retry it on their own; the original answered 400 for a conflict of state",
    422: "the original does not use it; a bad request is a 400",
}
ERROR_TYPES = {
    400: ["invalid_request_error"],
    401: ["invalid_request_error"],
    404: ["invalid_request_error"],
    429: ["rate_limit_error", "insufficient_quota"],
    500: ["server_error"],
    503: ["service_unavailable_error"],
}


@cache
def error_body(status: int | None = None) -> Schema:
    """Demand the error envelope with its four keys, and the type that goes with a status."""
    types: Schema = {"enum": ERROR_TYPES[status]} if status in ERROR_TYPES else {}
    nullable = {"type": ["string", "null"]}
    fields = {
        "message": {"type": "string", "minLength": 1},
        "type": {"type": "string", **types},
        "param": nullable,
        "code": nullable,
    }
    return shape("error", {"error": shape(" ".join(fields), fields)})
