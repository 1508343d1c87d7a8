"""What is taken for a line, what is not and why, and the order of a thread's messages."""

import json
from typing import Any

import pytest
from msgspec import UNSET

from app.moving.lines import MessageLine, ThreadLine
from app.moving.reading import BadLine, read

AT = 1_700_000_000
MESSAGE = {"object": "thread.message", "id": "msg_1", "thread_id": "thread_1", "created_at": AT, "role": "user"}
MESSAGE |= {"content": [{"type": "text", "text": {"value": "x", "annotations": []}}]}
THREAD = {"object": "thread", "id": "thread_1", "created_at": AT}
ASSISTANT = {"object": "assistant", "id": "asst_1", "created_at": AT, "model": "gpt-4o"}
RUN = {"object": "thread.run", "id": "run_1", "thread_id": "thread_1", "created_at": AT, "status": "completed"}
RUN |= {"model": "gpt-4o"}
STEP = {"object": "thread.run.step", "id": "step_1", "run_id": "run_1", "thread_id": "thread_1", "created_at": AT}
STEP |= {"type": "tool_calls", "status": "completed", "step_details": {"type": "tool_calls", "tool_calls": []}}


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def reason(text: bytes) -> str:
    with pytest.raises(BadLine) as bad:
        read(text)
    return str(bad.value)


@pytest.mark.parametrize("whole", [MESSAGE, THREAD, ASSISTANT, RUN, STEP], ids=lambda whole: whole["object"])
def test_a_line_may_have_what_nobody_knows_and_lack_what_openai_left_out(whole: dict[str, Any]) -> None:
    [found] = read(line(**whole, something_new={"a": [1]}))
    assert found.id == whole["id"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "It is not JSON."),
        (b'{"object": "thread"', "It is not JSON."),
        (b'\xff{"object": "thread"}', "It is not JSON."),
        (b"[" * 100_000, "It is not JSON."),
        (b'{"object": "thread", "created_at": "x", }', "It is not JSON."),
        (b'{"object":"thread","id":"thread_1","created_at":1,"metadata":{"a":"\\ud800"}}', "It is not JSON."),
        (b"[1]", "Invalid type: expected an object, but got an array instead."),
        (b"{}", "Missing required parameter: 'object'."),
        (line(object="file", id="file_1"), "Invalid value for 'object': 'file'."),
        (line(object="thread", created_at=1), "Missing required parameter: 'id'."),
        (line(**THREAD | {"created_at": "x"}), "Invalid type for 'created_at': expected an integer, but got a string"),
        (line(**THREAD | {"created_at": 2**31}), "Invalid 'created_at': integer above maximum value."),
        (line(**THREAD | {"created_at": -1}), "Invalid 'created_at': integer below minimum value."),
        (line(**THREAD | {"id": "thread_é"}), "Invalid 'id': string does not match pattern."),
        (line(**THREAD | {"id": "msg_1"}), "Invalid 'id': string does not match pattern."),
        (line(**THREAD | {"id": "thread_" + "x" * 57}), "Invalid 'id': string does not match pattern."),
        (line(**THREAD | {"metadata": {"k": "v" * 513}}), "Invalid 'metadata.k': string too long."),
        (line(**THREAD | {"metadata": {str(n): "" for n in range(17)}}), "Invalid 'metadata': too many properties."),
        (line(**MESSAGE | {"role": "tool"}), "Invalid value for 'role': 'tool'."),
        (line(**MESSAGE | {"content": [{"type": "audio"}]}), "Invalid value for 'content[0].type': 'audio'."),
        (line(**ASSISTANT | {"name": "a\0b"}), "Invalid 'name': string does not match pattern."),
        (line(**ASSISTANT | {"tools": [{"type": "retrieval"}]}), "Invalid value for 'tools[0].type': 'retrieval'."),
        (line(**RUN | {"status": "in_progress"}), "Invalid value for 'status': 'in_progress'."),
        (line(**STEP | {"status": "in_progress"}), "Invalid value for 'status': 'in_progress'."),
        (
            line(**THREAD, messages=[MESSAGE | {"thread_id": "thread_2"}]),
            "Message 'msg_1' is of another thread, 'thread_2'.",
        ),
        (line(**THREAD, messages=[MESSAGE, MESSAGE | {"role": 1}]), "Invalid type for 'messages[1].role': expected"),
    ],
)
def test_what_is_no_line_is_refused_with_a_reason(text: bytes, expected: str) -> None:
    assert reason(text).startswith(expected)


def test_a_reason_quotes_the_beginning_of_a_long_value() -> None:
    assert reason(line(**MESSAGE | {"role": "x" * 5000})) == f"Invalid value for 'role': '{'x' * 273}…"


def test_a_bad_thread_is_known_by_its_id_so_that_what_belongs_to_it_can_be_refused() -> None:
    for text, thread_id in (
        (line(**THREAD | {"created_at": "x"}), "thread_1"),
        (line(**THREAD | {"id": 7}), None),
        (line(**MESSAGE | {"role": 7}), None),
        (b"[1]", None),
    ):
        with pytest.raises(BadLine) as bad:
            read(text)
        assert bad.value.thread_id == thread_id


def messages(*moments: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in MESSAGE.items() if name != "thread_id"}
        | {"id": f"msg_{number}", "created_at": AT + moment, **fields}
        for number, moment in enumerate(moments, start=1)
    ]


def order(given: Any) -> list[str]:
    thread, *found = read(line(**THREAD, messages=given))
    assert isinstance(thread, ThreadLine)
    assert thread.messages is UNSET
    assert all(isinstance(one, MessageLine) and one.thread_id == "thread_1" for one in found)
    return [one.id.removeprefix("msg_") for one in found]


def test_messages_stand_oldest_first_and_those_of_one_second_as_the_api_lists_them() -> None:
    assert order(messages(1, 2, 2, 3)) == ["1", "2", "3", "4"]
    assert order(messages(3, 2, 2, 1)) == ["4", "3", "2", "1"]
    assert order(messages(1, 3, 2, 4)) == ["1", "3", "2", "4"]
    assert order(messages(2, 2)) == ["1", "2"]


def test_messages_with_places_are_left_as_they_are() -> None:
    placed = [one | {"position": 9 - number} for number, one in enumerate(messages(3, 2, 1))]
    assert order(placed) == ["1", "2", "3"]


def test_messages_come_as_a_list_or_as_pages_of_the_api() -> None:
    one, two = messages(1, 2)
    pages = [{"object": "list", "data": [two], "has_more": True}, {"object": "list", "data": [one]}]
    assert order(pages) == order({"object": "list", "data": [two, one]}) == order([two, one]) == ["1", "2"]
    assert order(None) == order([]) == order({"object": "list", "data": []}) == []
