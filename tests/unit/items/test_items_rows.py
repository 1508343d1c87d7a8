"""From rows to items: what a step expands to, in which order, and what of a thread's message is shown how."""

import json
from typing import Any

import pytest

from app.db.tables import row_of
from app.items.compiling import NewRowItem, compiled
from app.items.rows import copy_of, item_of, message_item, step_items, step_without
from app.items.schemas import ShownFunctionCall, ShownFunctionOutput, ShownReasoning
from app.items.statements import NO_CALLS
from app.kit.wire import to_json
from app.messages.content import parts_of
from app.messages.schemas import NewMessage


def details(*calls: tuple[str, str | None]) -> str:
    """Write a step's details as the journal does."""
    kept = [
        {"id": f"call_{name}", "type": "function", "function": {"name": "f", "arguments": name, "output": output}}
        for name, output in calls
    ]
    return to_json({"type": "tool_calls", "tool_calls": kept})


def test_a_step_is_its_calls_and_then_their_outputs() -> None:
    items = step_items(details(("a", "1"), ("b", None), ("c", "")))
    assert [item.id for item in items] == ["fc_a", "fc_b", "fc_c", "fco_a", "fco_c"]
    assert items[0] == ShownFunctionCall(id="fc_a", call_id="call_a", name="f", arguments="a")
    assert items[3:] == [
        ShownFunctionOutput(id="fco_a", call_id="call_a", output="1"),
        ShownFunctionOutput(id="fco_c", call_id="call_c", output=""),
    ]
    assert step_items(details()) == []


def test_only_the_last_call_was_cut_and_only_if_it_has_no_output() -> None:
    cut = step_items(details(("a", None), ("b", None)), cut=True)
    assert [item.status for item in cut] == ["completed", "incomplete"]
    answered = step_items(details(("a", "1"), ("b", "2")), cut=True)
    assert {item.status for item in answered} == {"completed"}


def test_a_step_is_left_without_a_call_and_its_output_or_without_an_output() -> None:
    whole = details(("a", "1"), ("b", "2"), ("c", None))
    assert step_without(whole, "fc_b") == details(("a", "1"), ("c", None))
    assert step_without(whole, "fco_b") == details(("a", "1"), ("b", None), ("c", None))
    assert step_without(details(("a", "1")), "fc_a") == NO_CALLS
    for other in ("fco_c", "fc_d", "fco_d", "b", "call_b"):
        assert step_without(whole, other) is None


def kept(item: NewRowItem) -> Any:
    return row_of({"id": "x_1", "type": item.type, "body": item.body})


SENT: list[dict[str, Any]] = [
    {"role": "system", "content": "a"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "b"}]},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "c"}]},
]


@pytest.mark.parametrize("sent", SENT, ids=[sent.get("type", "message") for sent in SENT])
def test_what_was_kept_of_an_item_keeps_it_again(sent: dict[str, Any]) -> None:
    (new,) = compiled([sent], "items")
    assert isinstance(new, NewRowItem)
    row = kept(new)
    copied = copy_of(row, item_of(row))
    assert isinstance(copied, NewRowItem)
    assert (copied.type, copied.call_id, json.loads(copied.body)) == (new.type, new.call_id, json.loads(new.body))


def test_what_the_engine_keeps_of_reasoning_is_shown() -> None:
    body = '{"summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}'
    shown = item_of(row_of({"id": "rs_1", "type": "reasoning", "body": body}))
    assert isinstance(shown, ShownReasoning)
    assert json.loads(to_json(shown)) == {**json.loads(body), "type": "reasoning", "id": "rs_1", "status": "completed"}


@pytest.mark.parametrize(("role", "kind"), [("user", "input_text"), ("assistant", "output_text")])
def test_the_text_of_a_message_is_input_or_output_by_who_said_it(role: str, kind: str) -> None:
    content = to_json(parts_of("x"))
    row = row_of({"id": "msg_1", "status": "incomplete", "role": role, "content": content})
    item = message_item(row)
    (part,) = json.loads(to_json(item))["content"]
    assert (part["type"], part["text"], item.status) == (kind, "x", "incomplete")
    copied = copy_of(row, item)
    assert isinstance(copied, NewMessage)
    assert to_json(copied.content) == content
