"""Stream events as data: the 25 of the Assistants API (openai_wire.md 3.1) and what data-only streams carry.

No code that checks lives here; their order is in order.py.
"""

from dataclasses import dataclass

from .convert import Schema
from .envelope import error_body
from .shapes import id_of, shape
from .tables import OBJECTS, RESPONSE

DONE = b"[DONE]"


@dataclass(frozen=True)
class EventRule:
    """What holds for one event's data: an official schema by name, and tables of ours."""

    schema: str | None = None
    tables: tuple[Schema, ...] = ()


INDEX: Schema = {"type": "integer", "minimum": 0}
STRING: Schema = {"type": "string"}
STATUSES = {
    "thread.run": (
        *("queued", "in_progress", "cancelling"),
        *("requires_action", "completed", "incomplete", "failed", "cancelled", "expired"),
    ),
    "thread.run.step": ("in_progress", "completed", "failed", "cancelled", "expired"),
    "thread.message": ("in_progress", "completed", "incomplete"),
}
SCHEMAS = {"thread.run": "RunObject", "thread.run.step": "RunStepObject", "thread.message": "MessageObject"}
# A terminal event ends the stream; the run of requires_action goes on in another one.
ENDS_OF_RUN = frozenset(f"thread.run.{status}" for status in STATUSES["thread.run"][3:])
# What a stream of these operations begins with.
OPENINGS = {
    "POST /threads/runs": ("thread.created", "thread.run.created"),
    "POST /threads/{thread_id}/runs": ("thread.run.created",),
}

EMPTY_CONTENT = shape("", {"content": {"maxItems": 0, "description": "must be empty while in progress"}})
TEXT_DELTA = shape("value", {"value": STRING, "annotations": {"type": "array"}})
MESSAGE_DELTA = shape(
    "id object delta",
    {
        "id": id_of("thread.message"),
        "object": {"const": "thread.message.delta"},
        "delta": shape(
            "content",
            {
                "role": {"enum": ["user", "assistant"]},
                "content": {
                    "type": "array",
                    "items": shape(
                        "index type",
                        {"index": INDEX, "type": {"enum": ["text", "image_file", "image_url", "refusal"]}},
                        [
                            {
                                "if": {"properties": {"type": {"const": "text"}}},
                                "then": shape("text", {"text": TEXT_DELTA}),
                            }
                        ],
                    ),
                },
            },
        ),
    },
)
TOOL_CALL_DELTA = shape(
    "index type",
    {
        "index": INDEX,
        "id": STRING,
        "type": {"enum": ["function", "code_interpreter", "file_search"]},
        "function": shape("", {"name": STRING, "arguments": STRING, "output": {"type": ["string", "null"]}}),
    },
)
STEP_DELTA = shape(
    "id object delta",
    {
        "id": id_of("thread.run.step"),
        "object": {"const": "thread.run.step.delta"},
        "delta": shape(
            "step_details",
            {
                "step_details": shape(
                    "type",
                    {
                        "type": {"enum": ["message_creation", "tool_calls"]},
                        "message_creation": shape("", {"message_id": id_of("thread.message")}),
                        "tool_calls": {"type": "array", "items": TOOL_CALL_DELTA},
                    },
                )
            },
        ),
    },
)


def _object_events(kind: str) -> dict[str, EventRule]:
    first = STATUSES[kind][0]
    rules = {}
    for name in ["created", *STATUSES[kind]]:
        status = first if name == "created" else name
        tables = [OBJECTS[kind], shape("status", {"status": {"const": status}})]
        if kind == "thread.message" and status == "in_progress":
            tables.append(EMPTY_CONTENT)
        rules[f"{kind}.{name}"] = EventRule(SCHEMAS[kind], tuple(tables))
    return rules


ASSISTANT_EVENTS: dict[str, EventRule] = {
    "thread.created": EventRule("ThreadObject", (OBJECTS["thread"],)),
    **_object_events("thread.run"),
    **_object_events("thread.run.step"),
    **_object_events("thread.message"),
    "thread.run.step.delta": EventRule(tables=(STEP_DELTA,)),
    "thread.message.delta": EventRule(tables=(MESSAGE_DELTA,)),
}
# The document has this flat; only the wrapped form raises in every client (flat keys beside it do no harm).
ERROR_EVENT = EventRule(tables=(error_body(),))
# By the data's `object`: streams whose events have no name.
DATA_ONLY = {
    "chat.completion.chunk": EventRule("CreateChatCompletionStreamResponse"),
    "text_completion": EventRule("CreateCompletionResponse"),
}
# Each event of a response's own has all of it.
LIFECYCLE = (shape("response", {"response": RESPONSE}),)
# Newer than the document, which gives no schema for it.
UNSPECIFIED_RESPONSE_EVENTS = frozenset({"response.compaction.compacting"})
