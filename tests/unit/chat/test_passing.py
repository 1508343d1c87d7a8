"""What of a stream goes on: all of it, however it is cut, but for a usage that nobody asked for."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chat.passing import LONGEST_EVENT, EventTooLong, Passing
from tests.fakes import model_wire as wire

TEXT = '"choices":[] and data: {"error"'  # what a model may say, too
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
SPACED = USAGE.replace(b'"choices":[]', b'"choices": []')
ROLE = b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
SAID = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":' + json.dumps(TEXT).encode() + b"}}]}\n\n"
UNICODE = 'data: {"id":"c","choices":[{"index":0,"delta":{"content":"é日🙂"}}]}\n\n'.encode()
DONE = b"data: [DONE]\n\n"


def rewritten(error: object) -> bytes:
    return b'{"error":"ours"}'


def passed(*pieces: bytes, with_usage: bool = False) -> tuple[bytes, Passing]:
    passing = Passing(with_usage=with_usage, rewrite=rewritten)
    return b"".join([*map(passing.feed, pieces), passing.rest()]), passing


@pytest.mark.parametrize("usage", [USAGE, SPACED])
@pytest.mark.parametrize("with_usage", [False, True])
def test_a_usage_goes_on_only_to_who_asked_for_it(usage: bytes, with_usage: bool) -> None:
    out, passing = passed(ROLE + SAID, UNICODE + usage + DONE, with_usage=with_usage)
    assert out == ROLE + SAID + UNICODE + (usage if with_usage else b"") + DONE
    assert passing.usage is not None
    assert (passing.usage.prompt_tokens, passing.usage.completion_tokens) == (7, 2)
    assert passing.events == 6, "one word too many: a text that speaks of data"


@given(cuts=st.lists(st.integers(0, 600), max_size=12), with_usage=st.booleans())
def test_however_a_stream_is_cut_the_same_goes_on(cuts: list[int], with_usage: bool) -> None:
    stream = ROLE + b": a comment\n\n" + SAID + UNICODE + USAGE + DONE
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    out, passing = passed(*(stream[start:end] for start, end in pairwise(places)), with_usage=with_usage)
    assert out == (stream if with_usage else stream.replace(USAGE, b""))
    assert passing.usage is not None


def test_lines_may_end_as_on_windows() -> None:
    stream = (ROLE + SAID + DONE).replace(b"\n", b"\r\n")
    assert passed(stream[:50], stream[50:])[0] == stream


def test_an_error_in_the_stream_becomes_ours_and_what_follows_goes_on() -> None:
    error = b'data: {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}\n\n'
    out, passing = passed(ROLE, error + DONE)
    assert out == ROLE + b'data: {"error":"ours"}\n\n' + DONE
    assert passing.failed


def test_what_nobody_can_read_goes_on_as_it_came() -> None:
    garbage = b'data: {"choices":[], nonsense}\n\n'
    assert passed(garbage + wire.DONE)[0] == garbage + wire.DONE


def test_an_end_without_a_line_goes_on_too() -> None:
    assert passed(ROLE, b"data: [DO")[0] == ROLE + b"data: [DO"


def test_an_event_without_end_is_given_up() -> None:
    passing = Passing(with_usage=False, rewrite=rewritten)
    with pytest.raises(EventTooLong):
        for _ in range(LONGEST_EVENT // 2**20 + 1):
            passing.feed(b"x" * 2**20)
