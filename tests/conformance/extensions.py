"""Operations of ours that the original lacked, held to the same headers, errors, pages and events. Data only.

And one schema that the document has wrong: a stored completion's input need not be the assistant's, as its own example
shows.
"""

from .convert import Schema, component

THREAD_LIST = "GET /threads"
USAGE = "GET /usage"
RUN_EVENTS = "GET /threads/{thread_id}/runs/{run_id}/events"

PART = "ChatCompletionRequestMessageContentPart"
PARTS: Schema = {"items": {"anyOf": [{"$ref": component(f"{PART}{kind}")} for kind in ("Text", "Image")]}}


def _list_of(items: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": items},
            "first_id": {"type": "string"},
            "last_id": {"type": "string"},
            "has_more": {"type": "boolean"},
        },
    }


SCHEMAS: dict[str, Schema] = {
    "ListThreadsResponse": _list_of({"$ref": component("ThreadObject")}),
    "ChatCompletionMessageList": _list_of(
        {
            "type": "object",
            "required": ["id", "role", "content", "refusal"],
            "properties": {
                "id": {"type": "string"},
                "role": {"enum": ["developer", "system", "user", "assistant", "tool", "function"]},
                "content": {"type": ["string", "null"]},
                "refusal": {"type": ["string", "null"]},
                "tool_calls": {"$ref": component("ChatCompletionMessageToolCalls")},
                "content_parts": {"type": ["array", "null"], **PARTS},
            },
        }
    ),
    "OwnUsage": {
        "type": "object",
        "required": ["object", "key_id", "project_id", "today", "month", "days", "key", "project"],
        "properties": {"object": {"const": "usage"}, "days": {"type": "array"}},
    },
}
# By operation: the schema of its answer, None for a stream.
OPERATIONS: dict[str, str | None] = {THREAD_LIST: "ListThreadsResponse", USAGE: "OwnUsage", RUN_EVENTS: None}
