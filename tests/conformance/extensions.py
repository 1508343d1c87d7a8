"""Operations of ours that the original lacked, held to the same headers, errors, pages and events. Data only.

And two schemas that the document has wrong, as its own examples show: a stored completion's input need not be the
assistant's, and a response's usage is null until it ends.
"""

from .convert import Schema, component

THREAD_LIST = "GET /threads"
USAGE = "GET /usage"
RESPONSE_LIST = "GET /responses"
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


COUNT: Schema = {"type": "integer"}


def _counts(*names: str) -> Schema:
    return {"type": "object", "required": [*names], "properties": dict.fromkeys(names, COUNT)}


SCHEMAS: dict[str, Schema] = {
    "ResponseList": _list_of({"$ref": component("Response")}),
    "ResponseUsage": {
        "type": ["object", "null"],
        "required": ["input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"],
        "properties": {
            **_counts("input_tokens", "output_tokens", "total_tokens")["properties"],
            "input_tokens_details": _counts("cached_tokens", "cache_write_tokens"),
            "output_tokens_details": _counts("reasoning_tokens"),
        },
    },
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
OPERATIONS: dict[str, str | None] = {
    THREAD_LIST: "ListThreadsResponse",
    RESPONSE_LIST: "ResponseList",
    USAGE: "OwnUsage",
    RUN_EVENTS: None,
}
