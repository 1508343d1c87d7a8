"""What is not sent, what is null, and what is refused; nulls of answers stay."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from app.kit.wire import Answer, Body, Foreign, Metadata, sent, sent_fields, to_json


class Change(Body, kw_only=True, frozen=True):
    name: str | UnsetType | None = UNSET
    size: int | UnsetType | None = UNSET


class Shown(Answer, kw_only=True, frozen=True):
    name: str | None
    extra: str | UnsetType = UNSET


class Upstream(Foreign, kw_only=True, frozen=True):
    name: str = "unnamed"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{}", {}),
        (b'{"name":null}', {"name": None}),
        (b'{"name":"x","size":0}', {"name": "x", "size": 0}),
    ],
)
def test_only_what_was_sent_counts_nulls_included(body: bytes, fields: dict[str, Any]) -> None:
    assert sent_fields(msgspec.json.decode(body, type=Change)) == fields


@pytest.mark.parametrize(("value", "expected"), [(UNSET, 7), (None, 7), (0, 0), (5, 5)])
def test_a_default_is_for_what_was_left_out_or_null(value: Any, expected: int) -> None:
    assert sent(value, 7) == expected


def test_a_body_refuses_what_it_does_not_know_and_an_upstream_answer_does_not() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `other`"):
        msgspec.json.decode(b'{"other":1}', type=Change)
    assert msgspec.json.decode(b'{"other":1}', type=Upstream).name == "unnamed"


def test_an_answer_keeps_its_nulls_and_leaves_out_what_is_not_set() -> None:
    assert to_json(Shown(name=None)) == '{"name":null}'
    assert to_json(Shown(name=None, extra="x")) == '{"name":null,"extra":"x"}'


def test_json_for_a_column_is_compact_text() -> None:
    assert to_json({"a": ["é", "\0"], "b": {}}) == '{"a":["é","\\u0000"],"b":{}}'


@pytest.mark.parametrize(
    ("pairs", "fits"),
    [
        ({}, True),
        ({"k" * 64: "v" * 512}, True),
        ({"é" * 64: "é" * 512}, True),
        ({str(n): "" for n in range(16)}, True),
        ({str(n): "" for n in range(17)}, False),
        ({"k" * 65: ""}, False),
        ({"k": "v" * 513}, False),
        ({"k": 1}, False),
        ({"k": None}, False),
    ],
    ids=range(9),
)
def test_metadata_has_its_bounds(pairs: Any, fits: bool) -> None:
    body = msgspec.json.encode(pairs)
    if fits:
        assert msgspec.json.decode(body, type=Metadata) == pairs
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=Metadata)
