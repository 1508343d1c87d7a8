"""Items as clients send them to /v1/conversations, on both databases: every shape, and every fault with its place."""

from typing import Any

import pytest

from app.items.compiling import KINDS
from tests.fixtures.calls import assert_refused
from tests.fixtures.conversations import added, answers, calls, items_of, new_conversation, says

pytestmark = pytest.mark.anyio

PICTURE = "data:image/png;base64,iVBORw0KGgo="
USER_PARTS = [{"type": "input_text", "text": "what is this?"}, {"type": "input_image", "image_url": PICTURE}]
SAID = [{"type": "output_text", "text": "a share", "annotations": [], "logprobs": []}]
# What is sent, and what is shown of it beside id and status.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": (
        says("user", "hello"),
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    ),
    "nothing": (
        {"type": "message", **says("user", "")},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}]},
    ),
    "no parts": (
        {"type": "message", "role": "user", "content": []},
        {"type": "message", "role": "user", "content": []},
    ),
    "parts": (
        {"role": "user", "content": USER_PARTS},
        {
            "type": "message",
            "role": "user",
            "content": [USER_PARTS[0], {**USER_PARTS[1], "file_id": None, "detail": "auto"}],
        },
    ),
    "the original's size": (
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://x.y/z.png", "detail": "original"}]},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_image", "image_url": "https://x.y/z.png", "file_id": None, "detail": "high"}],
        },
    ),
    "an assistant's text": (
        says("assistant", "a share"),
        {"type": "message", "role": "assistant", "content": SAID},
    ),
    "an assistant's text as input": (
        {"role": "assistant", "content": [{"type": "input_text", "text": "a share"}], "phase": "final_answer"},
        {"type": "message", "role": "assistant", "content": SAID},
    ),
    "output sent back": (
        {
            "id": "msg_elsewhere",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": None,
            "content": [{**SAID[0], "annotations": [{"type": "url_citation", "url": "x"}], "parsed": {"a": 1}}],
        },
        {"type": "message", "role": "assistant", "content": SAID},
    ),
    "a refusal sent back": (
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]},
    ),
    "the system": (
        {"type": "message", **says("system", "Be brief.")},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
    ),
    "the developer": (
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    ),
    "a call sent back": (
        {**calls("call_a", "f", '{"a":1}'), "id": "fc_1", "status": "completed", "parsed_arguments": {"a": 1}},
        calls("call_a", "f", '{"a":1}'),
    ),
    "an output": (answers("call_a", "1"), answers("call_a", "1")),
    "an output of parts": (
        answers("call_a", USER_PARTS),
        answers("call_a", [USER_PARTS[0], {**USER_PARTS[1], "file_id": None, "detail": "auto"}]),
    ),
    "reasoning sent back": (
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "thought"}],
            "encrypted_content": "gAAAA",
            "status": None,
        },
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "thought"}],
            "encrypted_content": "gAAAA",
        },
    ),
    "reasoning in the open": (
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_is_taken_and_shown_as_the_original_shows_it(rooms: Any, shape: str) -> None:
    sent, shown = SHAPES[shape]
    conversation = await new_conversation(rooms)
    (item,) = await added(rooms, conversation, sent)
    assert {**item, "status": "completed"} == item
    assert {key: value for key, value in item.items() if key not in ("id", "status")} == shown
    assert item["id"] != sent.get("id")
    assert await items_of(rooms, conversation) == [item]
    # What was shown can be sent back as it is.
    (again,) = await added(rooms, conversation, item)
    assert again == {**item, "id": again["id"]}


async def test_what_was_cut_short_may_be_sent_back_and_says_so(rooms: Any) -> None:
    conversation = await new_conversation(rooms, {**calls("call_a"), "status": "incomplete"})
    assert [item["status"] for item in await items_of(rooms, conversation)] == ["incomplete"]


TYPES = ", ".join(f"'{kind}'" for kind in KINDS)
LONG = "x" * 65
REFUSED: dict[str, tuple[Any, str, str, str]] = {
    "another type": (
        {"type": "computer_call", "call_id": "x"},
        f"Invalid value: 'computer_call'. This server has items of these types: {TYPES}.",
        "items[1].type",
        "invalid_value",
    ),
    "no type": ({"name": "x"}, "Missing required parameter: 'items[1].type'.", "items[1].type", "missing"),
    "a type that is none": (
        {"type": 1},
        "Invalid type for 'items[1].type': expected a string, but got an integer instead.",
        "items[1].type",
        "invalid_type",
    ),
    "a file": (
        {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
        "Invalid value for 'items[1].content[0].type': 'input_file'.",
        "items[1].content[0].type",
        "invalid_value",
    ),
    "a picture by its file": (
        {"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]},
        "Invalid 'items[1].content[0]': an input_image needs its picture in image_url; "
        "this server has no pictures by file_id.",
        "items[1].content[0].file_id",
        "invalid_value",
    ),
    "a picture by its file and its address": (
        {"role": "user", "content": [{"type": "input_image", "file_id": "file-1", "image_url": PICTURE}]},
        "Invalid 'items[1].content[0]': an input_image needs its picture in image_url; "
        "this server has no pictures by file_id.",
        "items[1].content[0].file_id",
        "invalid_value",
    ),
    "a picture without either": (
        answers("call_1", [{"type": "input_image"}]),
        "Invalid 'items[1].output[0]': an input_image needs its picture in image_url; "
        "this server has no pictures by file_id.",
        "items[1].output[0].image_url",
        "invalid_value",
    ),
    "another role": (
        {"role": "tool", "content": "x"},
        "Invalid value for 'items[1].role': 'tool'.",
        "items[1].role",
        "invalid_value",
    ),
    "reasoning of no type": (
        {"type": "reasoning", "summary": [], "content": [{"text": "hm"}]},
        "Missing required parameter: 'items[1].content[0].type'.",
        "items[1].content[0].type",
        "missing",
    ),
    "no content": ({"role": "user"}, "Missing required parameter: 'items[1].content'.", "items[1].content", "missing"),
    "what nobody knows": (
        {"role": "user", "content": "x", "colour": "red"},
        "Unknown parameter: 'items[1].colour'.",
        "items[1].colour",
        "unknown_parameter",
    ),
    "a long id of a call": (
        answers(LONG, "x"),
        "Invalid 'items[1].call_id': string too long. Expected a string with maximum length 64, "
        "but got a string with length 65 instead.",
        "items[1].call_id",
        "string_above_max_length",
    ),
    "a null in an id": (
        calls("call_\0"),
        "Invalid 'items[1].call_id': string does not match pattern. "
        "Expected a string that matches the pattern '^[^\\\\x00]*$'.",
        "items[1].call_id",
        "invalid_value",
    ),
    "no item": (
        "text",
        "Invalid type for 'items[1]': expected an object, but got a string instead.",
        "items[1]",
        "invalid_type",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
async def test_a_wrong_item_is_refused_with_its_place_and_nothing_is_kept(rooms: Any, fault: str) -> None:
    item, text, param, code = REFUSED[fault]
    code = {"missing": "missing_required_parameter"}.get(code, code)
    conversation = await new_conversation(rooms)
    body = {"items": [says("user", "x"), item]}
    for path in ("/v1/conversations", f"/v1/conversations/{conversation}/items"):
        assert_refused(await rooms.post(path, json=body), text, param=param, code=code)
    assert await items_of(rooms, conversation) == []
