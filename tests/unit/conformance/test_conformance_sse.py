"""The SSE parser gives the same events however the bytes arrive."""

import pytest

from tests.conformance.sse import ServerEvent, SseParser, parse

BODY = (
    b": ping\nid: 7\nevent: a\ndata: {\ndata:  1}\n\n\ndata:x\nretry: 3\n\nevent: no data\n\nevent: \xc3\xa9\ndata\n\n"
)
EVENTS = [
    ServerEvent("a", b"{\n 1}", "7"),
    ServerEvent(None, b"x", "7"),
    ServerEvent("é", b"", "7"),
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_events_are_the_same_however_the_reads_are_split(end: bytes, bom: bytes) -> None:
    body = bom + BODY.replace(b"\n", end)
    for size in (1, 2, 3, 5, len(body)):
        parser = SseParser()
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        assert [event for chunk in chunks for event in parser.feed(chunk)] == EVENTS
        assert not parser.pending


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r", b"\r\r"])
def test_an_event_comes_with_its_last_byte(end: bytes) -> None:
    parser = SseParser()
    assert parser.feed(b"data: x" + end[:-1]) == parser.feed(b"")
    assert [event.data for event in parser.feed(end[-1:])] == [b"x"]


def test_an_unfinished_event_is_not_given() -> None:
    assert parse(b"event: a\ndata: 1\n") == []
    parser = SseParser()
    parser.feed(b"event: a\ndata: 1\n")
    assert parser.pending
