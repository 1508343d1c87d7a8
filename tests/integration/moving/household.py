"""One of everything that can be moved, as lines; and the calls that move it. No fixtures."""

import json
from typing import Any

from tests.fixtures.calls import Json, get, post

AT = 1_700_000_000
NAME = "Zürich ☃ 東京 \u2028 𝄞"
PAIRS = {f"key {number} {'k' * 50}": "é" * 512 for number in range(16)}
FUNCTION = {"name": "get_price", "description": "…", "parameters": {"type": "object", "properties": {}}, "strict": True}
TEXT_FORMAT = {"type": "text"}
ANNOTATION = {
    "type": "file_citation",
    "text": "【1】",
    "file_citation": {"file_id": "file_1"},
    "start_index": 0,
    "end_index": 3,
}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}}
PICTURE_FILE = {"type": "image_file", "image_file": {"file_id": "file_2", "detail": "auto"}}
ATTACHMENT = {"file_id": "file_3", "tools": [{"type": "code_interpreter"}, {"type": "file_search"}]}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
CALL = {"type": "function", "id": "call_1", "function": {"name": "get_price", "arguments": "{}", "output": "101.25"}}
OPEN_CALL = {"type": "function", "id": "call_2", "function": {"name": "get_price", "arguments": "{}", "output": None}}


def text(value: str, *annotations: Json) -> Json:
    return {"type": "text", "text": {"value": value, "annotations": list(annotations)}}


def message(number: int, thread: str = "thread_1", **fields: Any) -> Json:
    """Return a message's line, with its place; `position=None` leaves that out."""
    whole = {
        "object": "thread.message",
        "id": f"msg_{number}",
        "created_at": AT + number,
        "thread_id": thread,
        "position": number,
        "status": "completed",
        "incomplete_details": None,
        "completed_at": AT + number,
        "incomplete_at": None,
        "role": "user",
        "content": [text(f"message {number}")],
        "assistant_id": None,
        "run_id": None,
        "attachments": [],
        "metadata": {},
    } | fields
    return {name: value for name, value in whole.items() if name != "position" or value is not None}


def thread(name: str = "thread_1", **fields: Any) -> Json:
    return {
        "object": "thread",
        "id": name,
        "created_at": AT,
        "metadata": {},
        "tool_resources": None,
        "last_position": 0,
    } | fields


def assistant(called: str = "asst_1", **fields: Any) -> Json:
    return {
        "object": "assistant",
        "id": called,
        "created_at": AT,
        "name": NAME,
        "description": None,
        "model": "gpt-4o",
        "instructions": NAME,
        "tools": [{"type": "code_interpreter"}, {"type": "file_search"}, {"type": "function", "function": FUNCTION}],
        "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}},
        "metadata": PAIRS,
        "temperature": 0.2,
        "top_p": None,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "reasoning_effort": "low",
    } | fields


def run(name: str = "run_1", **fields: Any) -> Json:
    return {
        "object": "thread.run",
        "id": name,
        "created_at": AT + 1,
        "thread_id": "thread_1",
        "assistant_id": "asst_1",
        "status": "completed",
        "last_error": None,
        "incomplete_details": None,
        "expires_at": AT + 601,
        "started_at": AT + 2,
        "ended_at": AT + 4,
        "model": "m",
        "instructions": NAME,
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_resources": None,
        "metadata": {"a": "b"},
        "usage": USAGE,
        "temperature": None,
        "top_p": 0.5,
        "max_prompt_tokens": None,
        "max_completion_tokens": 500,
        "truncation_strategy": {"type": "last_messages", "last_messages": 10},
        "tool_choice": {"type": "function", "function": {"name": "get_price"}},
        "parallel_tool_calls": False,
        "response_format": "auto",
        "reasoning_effort": None,
        "surface": "run",
        "whole_context": False,
        "last_position": 4,
    } | fields


def step(name: str, of: str, position: int, details: Json, **fields: Any) -> Json:
    return {
        "object": "thread.run.step",
        "id": name,
        "created_at": AT + position,
        "thread_id": "thread_1",
        "run_id": of,
        "assistant_id": "asst_1",
        "position": position,
        "type": details["type"],
        "status": "completed",
        "step_details": details,
        "last_error": None,
        "ended_at": AT + 4,
        "metadata": {},
        "usage": USAGE,
    } | fields


def calls(*made: Json) -> Json:
    return {"type": "tool_calls", "tool_calls": list(made)}


def item(name: str, position: int, kind: str, body: Json, **fields: Any) -> Json:
    return {
        "object": "thread.item",
        "id": name,
        "created_at": AT + position,
        "thread_id": "thread_1",
        "position": position,
        "type": kind,
        "call_id": None,
        "body": body,
        "run_id": None,
    } | fields


def response(name: str, of: str, first: int, **fields: Any) -> Json:
    return {
        "object": "thread.response",
        "id": name,
        "created_at": AT + first,
        "thread_id": "thread_1",
        "run_id": of,
        "previous_response_id": None,
        "background": True,
        "first_position": first,
        "input_count": 1,
        "metadata": {"a": NAME},
        "settings": {"temperature": 0.5, "text": {"format": TEXT_FORMAT}},
    } | fields


def everything() -> list[Json]:
    """Return lines in the order in which they are taken out: every field is there, and most say something."""
    made = {"type": "message_creation", "message_creation": {"message_id": "msg_4"}}
    failed = {"status": "failed", "ended_at": AT + 9, "usage": None, "last_position": 9, "max_completion_tokens": None}
    error = {"code": "server_error", "message": "The model server went away."}
    return [
        {"object": "vector_store", "id": "vs_1", "created_at": AT, "name": NAME, "metadata": {"a": "b"}},
        {"object": "vector_store", "id": "vs_2", "created_at": AT, "name": None, "metadata": {}},
        assistant(),
        assistant("asst_2", name=None, tools=[], metadata={}, response_format="auto", tool_resources=None),
        thread(metadata=PAIRS, tool_resources={"code_interpreter": {"file_ids": ["file_1"]}}, last_position=12),
        run(),
        run("run_2", surface="response", assistant_id=None, whole_context=True, **failed | {"last_error": error}),
        run("run_3", surface="response", assistant_id=None, last_position=12),
        message(1, content=[text(NAME + "\0"), PICTURE, PICTURE_FILE], attachments=[ATTACHMENT], metadata=PAIRS),
        message(4, role="assistant", content=[text("【1】", ANNOTATION)], run_id="run_1", assistant_id="asst_1"),
        item("rs_1", 5, "reasoning", {"type": "reasoning", "summary": []}, run_id="run_2"),
        item("fco_1", 7, "function_call_output", {"output": NAME}, call_id="call_2"),
        message(
            8,
            role="assistant",
            status="incomplete",
            incomplete_details={"reason": "max_tokens"},
            completed_at=None,
            incomplete_at=AT + 9,
            content=[{"type": "refusal", "refusal": "No."}],
        ),
        step("step_1", "run_1", 2, calls(CALL)),
        step("step_2", "run_1", 4, made),
        step("step_3", "run_2", 6, calls(OPEN_CALL), assistant_id=None, metadata={"a": "b"}, usage=None),
        response("resp_2", "run_2", 5),
        response("resp_3", "run_3", 9, previous_response_id="resp_2", background=False),
        thread("thread_2", assistant_id="asst_2", created_at=AT + 1),
        thread("chain_1", parent_id="thread_1", parent_position=8, last_position=1),
        message(21, "chain_1", position=1),
    ]


async def bring_in(api: Any, lines: list[Any], **fields: Any) -> Json:
    """Send a batch; a line's number is its place in the list."""
    numbered = [{"line": number, "entry": line} for number, line in enumerate(lines, start=1)]
    return await post(api, "/admin/import", {"lines": numbered, **fields})


async def take_out(api: Any, **query: Any) -> list[Json]:
    """Read every page of an export."""
    found: list[Json] = []
    after = None
    for _ in range(1000):
        page = await get(api, "/admin/export", **query, **({"after": after} if after else {}))
        found += page["data"]
        after = page["after"]
        if after is None:
            return found
    raise AssertionError("an export of few lines came to no end")


async def new_project(api: Any) -> str:
    return str((await post(api, "/admin/projects", {"name": "a house"}))["id"])


async def key_headers(api: Any, project: str) -> dict[str, str]:
    """Make a key of a project; return what a request with it says."""
    made = await post(api, "/admin/keys", {"name": "x", "project_id": project})
    return {"Authorization": f"Bearer {made['key']}"}


def named(name: str, suffix: str) -> str:
    """Return an id of the usual length: `thread_1` of the test whose suffix is `x2` is `thread_1x2000…`."""
    prefix, _, number = name.partition("_")
    return f"{prefix}_{number}{suffix}".ljust(len(prefix) + 25, "0")


def suffixed(lines: list[Json], suffix: str) -> list[Json]:
    """Return the same lines with other ids, so that tests leave each other's alone."""
    ids = {line["id"] for line in lines} | {line.get("thread_id") for line in lines} - {None}
    written = json.dumps(lines)
    for name in ids:
        written = written.replace(f'"{name}"', f'"{named(name, suffix)}"')
    return list(json.loads(written))
