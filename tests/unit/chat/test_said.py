"""What of a chat's messages stands before the past of its thread, what comes after it, and what the thread keeps."""

from typing import Any

import pytest

from app.chat.said import divided
from app.errors import InvalidRequest

PICTURE = "data:image/png;base64,AAAA"
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]

SYSTEM = {"role": "system", "content": "Be brief."}
DEVELOPER = {"role": "developer", "content": "Be kind."}
USER = {"role": "user", "content": "Hello"}
ASSISTANT = {"role": "assistant", "content": "Hi"}
CALLING = {"role": "assistant", "content": "I look.", "tool_calls": CALLS}
OUTPUT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
LATER_SYSTEM = {"role": "system", "content": "Now in French."}


def test_what_a_chat_begins_with_stands_before_the_past_and_all_else_after_it() -> None:
    said = divided([SYSTEM, DEVELOPER, USER, LATER_SYSTEM, ASSISTANT])
    assert said.opening == [SYSTEM, DEVELOPER]
    assert [sent.message for sent in said.sent(["msg_1", "msg_2"])] == [USER, LATER_SYSTEM, ASSISTANT]


def test_a_thread_keeps_what_users_and_assistants_said_and_no_calls_of_tools() -> None:
    said = divided([SYSTEM, USER, CALLING, OUTPUT, LATER_SYSTEM, ASSISTANT, {"role": "assistant", "content": ""}])
    assert [(body.role, body.content) for body in said.kept.values()] == [("user", "Hello"), ("assistant", "Hi")]
    assert [sent.id for sent in said.sent(["msg_1", "msg_2"])] == ["msg_1", None, None, None, "msg_2", None]


def test_pictures_are_kept() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    [body] = divided([{"role": "user", "content": parts}]).kept.values()
    assert [type(part).__name__ for part in body.content] == ["NewTextPart", "ImageUrlPart"]


def test_messages_go_on_with_every_field_that_they_came_with() -> None:
    named = USER | {"name": "ann", "unknown": 1}
    assert divided([named]).sent(["msg_1"])[0].message is named


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": ""}, "messages[1].content"),
        ({"role": "user"}, "messages[1].content"),
        ({"role": "user", "content": []}, "messages[1].content"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[1].content[0].type"),
        ({"role": "user", "content": [{"type": "text", "text": ""}]}, "messages[1].content[0].text"),
        ({"role": "narrator", "content": "x"}, "messages[1].role"),
        ({"content": "x"}, "messages[1].role"),
        ({"role": "assistant", "content": "x", "tool_calls": [1]}, "messages[1].tool_calls[0]"),
        ({"role": "tool", "content": 7}, "messages[1].content"),
        ("hello", "messages[1]"),
    ],
)
def test_what_cannot_be_kept_or_read_is_refused_by_its_place_in_the_request(message: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        divided([USER, message])
    assert refused.value.param == param
    assert param in refused.value.message
