"""Hand-made good answers and a good stream, for the checker's own tests to spoil. No product types."""

import json
from typing import Any

from .sse import ServerEvent

Object = dict[str, Any]

NOW = 1_700_000_000
HEADERS = {
    "X-Request-Id": "req_0123456789abcdef",
    "OpenAI-Processing-Ms": "12",
    "OpenAI-Version": "2020-10-01",
    "Content-Type": "application/json",
}
STREAM_HEADERS = {**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"}


def some_id(prefix: str, number: int = 1) -> str:
    """Make an id of the right shape."""
    return f"{prefix}_{number:024d}"


ASSISTANT_ID, THREAD_ID, RUN_ID = some_id("asst"), some_id("thread"), some_id("run")
MESSAGE_ID, STEP_ID = some_id("msg"), some_id("step")
RESPONSE_ID, CONVERSATION_ID = some_id("resp"), some_id("conv")
COMPLETION_ID = "chatcmpl-000000000000000000000001"


def assistant() -> Object:
    """Make an assistant with a function tool."""
    function = {"name": "add", "description": "Add.", "parameters": {"type": "object"}, "strict": False}
    return {
        **{"id": ASSISTANT_ID, "object": "assistant", "created_at": NOW, "name": "Ada", "description": None},
        **{"model": "llama", "instructions": None, "tools": [{"type": "function", "function": function}]},
        **{"tool_resources": {}, "metadata": {"a": "b"}, "temperature": 1.0, "top_p": 1.0},
        "response_format": "auto",
    }


def thread() -> Object:
    """Make a thread."""
    head = {"id": THREAD_ID, "object": "thread", "created_at": NOW}
    return {**head, "tool_resources": None, "metadata": {}}


def message(status: str = "completed", text: str = "Hello world") -> Object:
    """Make a run's message."""
    part = {"type": "text", "text": {"value": text, "annotations": []}}
    return {
        **{"id": MESSAGE_ID, "object": "thread.message", "created_at": NOW, "thread_id": THREAD_ID},
        **{"status": status, "incomplete_details": None, "incomplete_at": None, "role": "assistant"},
        "completed_at": NOW + 2 if status == "completed" else None,
        "content": [] if status == "in_progress" else [part],
        **{"assistant_id": ASSISTANT_ID, "run_id": RUN_ID, "attachments": [], "metadata": {}},
    }


def user_message() -> Object:
    """Make a message that a client wrote."""
    return {**message(), "role": "user", "assistant_id": None, "run_id": None, "completed_at": None}


def usage() -> Object:
    """Make a usage."""
    return {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def run(status: str = "completed") -> Object:
    """Make a run that is queued, in progress or completed."""
    completed = status == "completed"
    nothing = dict.fromkeys(["required_action", "last_error", "incomplete_details", "cancelled_at", "failed_at"])
    settings: Object = {"max_prompt_tokens": None, "max_completion_tokens": None, "tools": [], "metadata": {}}
    return {
        **{"id": RUN_ID, "object": "thread.run", "created_at": NOW, "thread_id": THREAD_ID},
        **{"assistant_id": ASSISTANT_ID, "status": status, **nothing},
        "expires_at": None if completed else NOW + 600,
        "started_at": None if status == "queued" else NOW + 1,
        "completed_at": NOW + 2 if completed else None,
        "usage": usage() if completed else None,
        **{"model": "llama", "instructions": "", "temperature": 1.0, "top_p": 1.0, **settings},
        "truncation_strategy": {"type": "auto", "last_messages": None},
        **{"tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"}},
    }


def step(status: str = "completed") -> Object:
    """Make the step that writes the message."""
    completed = status == "completed"
    nothing = dict.fromkeys(["last_error", "expired_at", "cancelled_at", "failed_at"])
    details = {"type": "message_creation", "message_creation": {"message_id": MESSAGE_ID}}
    return {
        **{"id": STEP_ID, "object": "thread.run.step", "created_at": NOW, "assistant_id": ASSISTANT_ID},
        **{"thread_id": THREAD_ID, "run_id": RUN_ID, "type": "message_creation", "status": status},
        **{"step_details": details, "metadata": {}, **nothing},
        "completed_at": NOW + 2 if completed else None,
        "usage": usage() if completed else None,
    }


def stored() -> Object:
    """Make a stored chat completion."""
    message = {"role": "assistant", "content": "Hello world", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    names = "tool_choice seed top_p temperature presence_penalty frequency_penalty input_user tools response_format"
    return {
        **{"id": COMPLETION_ID, "object": "chat.completion", "created": NOW, "model": "llama", "choices": [choice]},
        **{"metadata": {"a": "b"}, "request_id": "req_1", **dict.fromkeys(names.split())},
    }


def stored_message() -> Object:
    """Make a message that a stored chat completion answers."""
    told = {"id": f"{COMPLETION_ID}-0", "role": "user", "content": "Hello", "refusal": None}
    return {**told, "name": None, "content_parts": None}


def item(status: str = "completed", text: str = "Hello world") -> Object:
    """Make the message of a response."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    content = [] if status == "in_progress" else [part]
    return {"id": MESSAGE_ID, "type": "message", "status": status, "role": "assistant", "content": content}


def response(status: str = "completed") -> Object:
    """Make a response."""
    counts: Object = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    counts |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    counts |= {"output_tokens_details": {"reasoning_tokens": 0}}
    done = status == "completed"
    nulls = "instructions max_output_tokens max_tool_calls previous_response_id conversation prompt_cache_key"
    return {
        **{"id": RESPONSE_ID, "object": "response", "created_at": NOW, "status": status, "background": False},
        **{"completed_at": NOW + 1 if done else None, "error": None, "incomplete_details": None},
        **dict.fromkeys([*nulls.split(), "safety_identifier"]),
        **{"model": "llama", "output": [item()] if done else [], "usage": counts if done else None},
        **{"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "truncation": "disabled"},
        **{"reasoning": {"effort": None, "summary": None}, "text": {"format": {"type": "text"}}},
        **{"service_tier": "default", "store": True, "temperature": 1.0, "top_p": 1.0, "top_logprobs": 0},
        "metadata": {},
    }


def compaction() -> Object:
    """Make a context that was made shorter."""
    made = {"id": some_id("cmp"), "type": "compaction", "encrypted_content": "e30="}
    head = {"id": RESPONSE_ID, "object": "response.compaction", "created_at": NOW}
    return {**head, "output": [made], "usage": response()["usage"]}


def conversation() -> Object:
    """Make a conversation."""
    return {"id": CONVERSATION_ID, "object": "conversation", "created_at": NOW, "metadata": {}}


def response_stream() -> list[ServerEvent]:
    """Make the stream of a plain response."""
    place: Object = {"item_id": MESSAGE_ID, "output_index": 0, "content_index": 0}
    empty, whole = {**item()["content"][0], "text": ""}, item()["content"][0]
    told: list[tuple[str, Object]] = [
        ("created", {"response": response("in_progress")}),
        ("in_progress", {"response": response("in_progress")}),
        ("output_item.added", {"output_index": 0, "item": item("in_progress")}),
        ("content_part.added", {**place, "part": empty}),
        ("output_text.delta", {**place, "delta": "Hello", "logprobs": []}),
        ("output_text.delta", {**place, "delta": " world", "logprobs": []}),
        ("output_text.done", {**place, "text": "Hello world", "logprobs": []}),
        ("content_part.done", {**place, "part": whole}),
        ("output_item.done", {"output_index": 0, "item": item()}),
        ("completed", {"response": response()}),
    ]
    return [
        event(f"response.{name}", {"type": f"response.{name}", **fields, "sequence_number": number})
        for number, (name, fields) in enumerate(told)
    ]


def page(*items: Object) -> Object:
    """Make the list envelope around objects."""
    first, last = (items[0]["id"], items[-1]["id"]) if items else ("", "")
    return {"object": "list", "data": list(items), "first_id": first, "last_id": last, "has_more": False}


def deleted(kind: str, identifier: str) -> Object:
    """Make the answer to a delete."""
    return {"id": identifier, "object": f"{kind}.deleted", "deleted": True}


def error(kind: str = "invalid_request_error") -> Object:
    """Make an error envelope."""
    return {"error": {"message": "No.", "type": kind, "param": None, "code": None}}


def encoded(value: Object) -> bytes:
    """Make the body of an answer."""
    return json.dumps(value).encode()


def event(name: str, value: Object) -> ServerEvent:
    """Make one stream event."""
    return ServerEvent(name, encoded(value))


def text_delta(text: str) -> ServerEvent:
    """Make a piece of the message."""
    part = {"index": 0, "type": "text", "text": {"value": text, "annotations": []}}
    body = {"id": MESSAGE_ID, "object": "thread.message.delta", "delta": {"content": [part]}}
    return event("thread.message.delta", body)


def plain_stream() -> list[ServerEvent]:
    """Make the stream of a plain run."""
    return [
        event("thread.run.created", run("queued")),
        event("thread.run.queued", run("queued")),
        event("thread.run.in_progress", run("in_progress")),
        event("thread.run.step.created", step("in_progress")),
        event("thread.run.step.in_progress", step("in_progress")),
        event("thread.message.created", message("in_progress")),
        event("thread.message.in_progress", message("in_progress")),
        text_delta("Hello"),
        text_delta(" world"),
        event("thread.message.completed", message()),
        event("thread.run.step.completed", step()),
        event("thread.run.completed", run()),
        ServerEvent("done", b"[DONE]"),
    ]


def body_of(events: list[ServerEvent]) -> bytes:
    """Make the body of a streamed answer."""
    return b"".join(b"event: %s\ndata: %s\n\n" % (str(name).encode(), data) for name, data, _ in events)
