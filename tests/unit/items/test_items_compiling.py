"""From items as clients send them to what is kept: what the requests of test_conversations.py cannot tell apart."""

import json
from typing import Any

import pytest

from app.errors import InvalidRequest
from app.items.compiling import KINDS, NewRowItem, Reference, compiled
from app.messages.content import ImageUrl, ImageUrlPart, RefusalPart, TextPart, TextValue
from app.messages.schemas import NewMessage


def text(value: str) -> TextPart:
    return TextPart(text=TextValue(value=value))


def test_text_is_what_a_user_says() -> None:
    assert compiled("hello", "input") == [NewMessage(role="user", content=[text("hello")])]
    assert compiled("", "input") == [NewMessage(role="user", content=[text("")])]
    assert compiled([], "input") == []


def test_messages_of_users_and_assistants_are_kept_as_threads_keep_them() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "output_text", "text": "b"},
        {"type": "input_image", "image_url": "data:x"},
        {"type": "refusal", "refusal": "c"},
    ]
    for role in ("user", "assistant"):
        (kept,) = compiled([{"role": role, "content": parts}], "input")
        picture = ImageUrlPart(image_url=ImageUrl(url="data:x", detail="auto"))
        assert kept == NewMessage(role=role, content=[text("a"), text("b"), picture, RefusalPart(refusal="c")])


def body_of(item: Any) -> Any:
    assert isinstance(item, NewRowItem)
    return json.loads(item.body)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_what_threads_have_no_name_for_is_kept_as_it_is_shown(role: str) -> None:
    items: list[dict[str, Any]] = [
        {"role": role, "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "not json"},
        {"type": "function_call_output", "call_id": "call_1", "output": "c", "status": "incomplete"},
    ]
    told, called, output = compiled(items, "input")
    assert body_of(told) == {
        "status": "completed",
        "role": role,
        "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
    }
    assert body_of(called) == {"call_id": "call_1", "name": "f", "arguments": "not json", "status": "completed"}
    assert body_of(output) == {"call_id": "call_1", "output": "c", "status": "incomplete"}
    assert [(item.type, item.call_id) for item in (told, called, output) if isinstance(item, NewRowItem)] == [
        ("message", None),
        ("function_call", "call_1"),
        ("function_call_output", "call_1"),
    ]


def test_what_a_model_reasoned_is_kept_without_what_was_not_sent() -> None:
    sent = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a"}]}
    bare, whole = compiled([sent, {**sent, "content": [], "encrypted_content": ""}], "input")
    assert body_of(bare) == {"summary": sent["summary"], "status": "completed"}
    assert body_of(whole) == {**body_of(bare), "content": [], "encrypted_content": ""}


def test_what_has_only_an_id_is_a_reference_and_knows_its_place() -> None:
    items = [{"role": "user", "content": "x"}, {"id": "msg_1"}, {"type": "item_reference", "id": "fc_1"}]
    assert compiled(items, "input")[1:] == [Reference("msg_1", "input[1]"), Reference("fc_1", "input[2]")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_fault_of_an_item_is_told_with_its_place(kind: str) -> None:
    for param in ("input", "items"):
        with pytest.raises(InvalidRequest) as caught:
            compiled([{"role": "user", "content": "`$[9]"}, {"type": kind, "nothing": "`$[7]"}], param)
        assert str(caught.value.param).startswith(f"{param}[1].")


def test_a_word_that_looks_like_a_place_is_none() -> None:
    with pytest.raises(InvalidRequest) as caught:
        compiled([{"role": "` - at `$[5].x`", "content": "x"}], "items")
    assert caught.value.param == "items[0].role"
