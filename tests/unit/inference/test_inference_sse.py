"""The line splitter of a model server's stream: the same payloads however the bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.sse import LIMIT_BYTES, DataLines, LineTooLong

PAYLOADS = st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"").strip()), max_size=6)
NOISE = st.sampled_from([b"", b": ping", b"event: message", b"id: 7", b"datum: no", b"\r"])


@given(payloads=PAYLOADS, data=st.data(), ending=st.sampled_from([b"\n", b"\r\n"]))
def test_any_split_of_the_bytes_gives_the_same_payloads(payloads: list[bytes], data: st.DataObject, ending: bytes):
    stream = b"".join(
        data.draw(NOISE) + ending + data.draw(st.sampled_from([b"data: ", b"data:"])) + payload + ending + ending
        for payload in payloads
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    lines = DataLines()
    parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [payload for part in parts for payload in lines.feed(part)] == payloads


def test_a_line_without_its_end_is_not_a_payload_yet() -> None:
    lines = DataLines()
    assert lines.feed(b'data: {"a"') == []
    assert lines.feed(b":1}") == []
    assert lines.feed(b"\n") == [b'{"a":1}']


def test_a_server_that_never_ends_its_line_is_given_up() -> None:
    lines = DataLines()
    lines.feed(b"data: " + b"x" * (LIMIT_BYTES - 6))
    with pytest.raises(LineTooLong):
        lines.feed(b"x")
