"""Operations of ours that the original lacked, held to the same headers, errors, pages and events. Data only."""

from .convert import Schema, component

THREAD_LIST = "GET /threads"
USAGE = "GET /usage"
RUN_EVENTS = "GET /threads/{thread_id}/runs/{run_id}/events"

SCHEMAS: dict[str, Schema] = {
    "ListThreadsResponse": {
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"$ref": component("ThreadObject")}},
            "first_id": {"type": "string"},
            "last_id": {"type": "string"},
            "has_more": {"type": "boolean"},
        },
    },
    "OwnUsage": {
        "type": "object",
        "required": ["object", "key_id", "project_id", "today", "month", "days", "key", "project"],
        "properties": {"object": {"const": "usage"}, "days": {"type": "array"}},
    },
}
# By operation: the schema of its answer, None for a stream.
OPERATIONS: dict[str, str | None] = {THREAD_LIST: "ListThreadsResponse", USAGE: "OwnUsage", RUN_EVENTS: None}
