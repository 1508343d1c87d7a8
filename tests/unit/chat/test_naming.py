"""An answer that is kept has one id, whatever the model server called it."""

import json
from typing import Any

import pytest

from app.chat.naming import Naming

OURS = "chatcmpl-0123456789abcdefghijABCD"
CHOICES = [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1"}], "content": '"id":"gen-1"'}}]


def event(payload: Any, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(payload).encode() + end


def chunk(**fields: Any) -> dict[str, Any]:
    return {"choices": CHOICES, "created": 1, **fields, "model": "m"}


@pytest.mark.parametrize("theirs", ["gen-1", "chatcmpl-812", "", None, "gen/é", 7])
def test_another_id_is_replaced_and_nothing_else(theirs: Any) -> None:
    told = json.loads(Naming(OURS).whole(json.dumps(chunk(id=theirs)).encode()))
    assert list(told.items()) == list(chunk(id=OURS).items())


def test_a_missing_id_is_added() -> None:
    assert json.loads(Naming(OURS).whole(json.dumps(chunk()).encode())) == chunk(id=OURS)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_every_chunk_of_a_stream_is_named(end: bytes) -> None:
    sent = event(chunk(id="gen-1"), end) + b": ping" + end + event(chunk(id="gen-1"), end) + b"data: [DONE]" + end
    naming = Naming(OURS)
    for _ in range(2):
        told = naming.events(sent)
        events = told.split(end)
        assert [json.loads(one[5:]) for one in (events[0], events[2])] == [chunk(id=OURS)] * 2
        assert (events[1], events[3:]) == (b": ping", [b"data: [DONE]", b""])


def test_what_has_the_id_goes_on_byte_for_byte() -> None:
    data = event(chunk(id=OURS)).replace(b": ", b" :  ", 3).replace(b"data :", b"data:")
    naming = Naming(OURS)
    assert naming.events(data) == data
    assert naming.events(event(chunk(id="gen-1"))) == event(chunk(id="gen-1")), "one that is right is trusted"


@pytest.mark.parametrize("other", [b"", b"[DONE]", b"[]", b'{"error":{"message":"x"}}', b"\xff", b'{"id":"gen-1"}'])
def test_what_is_no_completion_stays_as_it_is(other: bytes) -> None:
    naming = Naming(OURS)
    assert naming.whole(other) == other
    assert naming.events(b"data: " + other + b"\n\n") == b"data: " + other + b"\n\n"
