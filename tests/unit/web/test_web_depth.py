"""How deep JSON is, found without parsing it: whatever stands in strings, and whatever is no JSON at all."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.web.depth import depth_of, require_shallow

VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\,: aé€\n'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='[]{}"\\'), inner, max_size=4),
    max_leaves=30,
)


def parsed_depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(parsed_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(parsed_depth, value), default=0)
    return 0


@given(VALUES, st.booleans())
def test_the_depth_is_the_one_that_a_parser_finds(value: Any, ascii_only: bool) -> None:
    assert depth_of(json.dumps(value, ensure_ascii=ascii_only).encode()) == parsed_depth(value)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (r'{"a":"[[[["}', 1),
        (r'{"a":"\"[[[["}', 1),
        (r'{"a":"\\","b":[[]]}', 3),
        (r'{"a":"\\\"[[[[\\"}', 1),
        (r'["[[[[]', 1),
        (r"[][][[]]", 2),
        (r"]]]][[", 0),
        (r"", 0),
        (r"{[{[", 4),
        ("[" * 3 + "}" * 3 + "[" * 4, 4),
    ],
)
def test_strings_hide_brackets_and_broken_json_is_measured_too(text: str, depth: int) -> None:
    assert max(depth_of(text.encode()), 0) == depth


@given(st.text(alphabet='[]{}"\\,1', max_size=40))
def test_a_parser_never_goes_deeper_than_was_measured(text: str) -> None:
    body = text.encode()
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return
    assert depth_of(body) == parsed_depth(value)


def test_a_body_on_the_limit_passes_and_one_level_more_is_refused() -> None:
    require_shallow(b"[" * 64 + b"]" * 64, 64)
    with pytest.raises(InvalidRequest, match="Expected at most 64 levels") as refused:
        require_shallow(b"[" * 65 + b"]" * 65, 64)
    assert refused.value.code == "request_too_deep"


def test_many_that_lie_beside_one_another_are_not_deep() -> None:
    require_shallow(json.dumps([{"content": [{"text": "if (a[0]) { b(); }"}]}] * 1000).encode(), 64)
