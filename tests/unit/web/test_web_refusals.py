"""msgspec's words in, OpenAI's out. msgspec is asked itself, so that its next release cannot change them unseen."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from app.errors import InvalidRequest
from app.kit.wire import Body, Metadata
from app.messages.schemas import CreateMessage
from app.runs.schemas import CreateRun
from app.threads.schemas import CreateThread
from app.web.bodies import NOT_JSON, decode_body
from app.web.refusals import refusal


class Inner(Body, kw_only=True, frozen=True):
    name: Annotated[str, Meta(min_length=2, max_length=4, pattern="^[a-z]*$")] = "ab"


class Alone(Body, kw_only=True, frozen=True):
    a: int | None = None
    b: int | None = None

    def __post_init__(self) -> None:
        if self.a and self.b:
            raise ValueError("Only one of 'a' or 'b' may be given")


class Sample(Body, kw_only=True, frozen=True):
    needed: int
    size: Annotated[int, Meta(ge=1, le=9)] = 1
    share: Annotated[float, Meta(ge=0, lt=1)] = 0
    kind: Literal["red", "blue"] = "red"
    items: Annotated[list[Inner], Meta(min_length=1, max_length=2)] = []
    flag: bool = False
    either: str | list[int] | None = None
    labels: Metadata = {}
    alone: Alone | None = None


CASES: list[tuple[dict[str, Any], str, str | None, str]] = [
    ({}, "Missing required parameter: 'needed'.", "needed", "missing_required_parameter"),
    ({"other": 1}, "Unknown parameter: 'other'.", "other", "unknown_parameter"),
    ({"needed": "1"}, "Invalid type for 'needed': expected an integer, but got a string instead.", "needed", "type"),
    ({"needed": 1.5}, "Invalid type for 'needed': expected an integer, but got a decimal instead.", "needed", "type"),
    ({"needed": None}, "Invalid type for 'needed': expected an integer, but got null instead.", "needed", "type"),
    ({"flag": 0}, "Invalid type for 'flag': expected a boolean, but got an integer instead.", "flag", "type"),
    ({"share": "x"}, "Invalid type for 'share': expected a decimal, but got a string instead.", "share", "type"),
    ({"items": {}}, "Invalid type for 'items': expected an array, but got an object instead.", "items", "type"),
    (
        {"either": True},
        "Invalid type for 'either': expected one of a string or an array, but got a boolean instead.",
        "either",
        "type",
    ),
    (
        {"either": [1, "2"]},
        "Invalid type for 'either[1]': expected an integer, but got a string instead.",
        "either[1]",
        "type",
    ),
    (
        {"size": 0},
        "Invalid 'size': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        "size",
        "integer_below_min_value",
    ),
    (
        {"size": 10},
        "Invalid 'size': integer above maximum value. Expected a value <= 9, but got 10 instead.",
        "size",
        "integer_above_max_value",
    ),
    (
        {"share": -0.5},
        "Invalid 'share': decimal below minimum value. Expected a value >= 0, but got -0.5 instead.",
        "share",
        "decimal_below_min_value",
    ),
    (
        {"share": 1},
        "Invalid 'share': decimal above maximum value. Expected a value < 1, but got 1 instead.",
        "share",
        "decimal_above_max_value",
    ),
    ({"kind": "green"}, "Invalid value for 'kind': 'green'.", "kind", "invalid_value"),
    (
        {"items": []},
        "Invalid 'items': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        "items",
        "empty_array",
    ),
    (
        {"items": [{}] * 3},
        "Invalid 'items': array too long. Expected an array with maximum length 2, but got an array with length 3 "
        "instead.",
        "items",
        "array_above_max_length",
    ),
    (
        {"items": [{}, {"name": "abcde"}]},
        "Invalid 'items[1].name': string too long. Expected a string with maximum length 4, but got a string with "
        "length 5 instead.",
        "items[1].name",
        "string_above_max_length",
    ),
    (
        {"items": [{"name": "a"}]},
        "Invalid 'items[0].name': string too short. Expected a string with minimum length 2, but got a string with "
        "length 1 instead.",
        "items[0].name",
        "string_below_min_length",
    ),
    (
        {"items": [{"name": "A-"}]},
        "Invalid 'items[0].name': string does not match pattern. Expected a string that matches the pattern "
        "'^[a-z]*$'.",
        "items[0].name",
        "invalid_value",
    ),
    ({"items": [{"nome": 1}]}, "Unknown parameter: 'items[0].nome'.", "items[0].nome", "unknown_parameter"),
    (
        {"labels": {"fine": "x", "wrong": 1}},
        "Invalid type for 'labels.wrong': expected a string, but got an integer instead.",
        "labels.wrong",
        "type",
    ),
    (
        {"labels": {"fine": "x", "long": "x" * 513}},
        "Invalid 'labels.long': string too long. Expected a string with maximum length 512, but got a string with "
        "length 513 instead.",
        "labels.long",
        "string_above_max_length",
    ),
    (
        {"labels": {"k" * 70: "x"}},
        "Invalid 'labels': key too long. Expected keys with maximum length 64, but got a key with length 70 instead.",
        "labels",
        "string_above_max_length",
    ),
    (
        {"labels": {str(n): "x" for n in range(17)}},
        "Invalid 'labels': too many properties. Expected an object with at most 16 properties, but got an object with "
        "17 properties instead.",
        "labels",
        "object_above_max_properties",
    ),
    (
        {"alone": {"a": 1, "b": 2}},
        "Mutually exclusive parameters. Ensure you are only providing one of: 'a' or 'b'.",
        "alone",
        "mutually_exclusive_parameters",
    ),
]


@pytest.mark.parametrize(("body", "text", "param", "code"), CASES, ids=[text[:48] for _, text, _, _ in CASES])
def test_a_wrong_value_is_refused_in_the_originals_words(
    body: dict[str, Any], text: str, param: str | None, code: str
) -> None:
    whole = {"needed": 1, **body} if body else {}
    with pytest.raises(InvalidRequest) as refused:
        decode_body(Sample, msgspec.json.encode(whole))
    error = refused.value
    assert (error.message, error.param, error.code) == (text, param, "invalid_type" if code == "type" else code)


def test_a_value_that_is_wrong_as_a_whole_has_no_parameter() -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_body(Sample, b"[]")
    assert refused.value.message == "Invalid type: expected an object, but got an array instead."
    assert refused.value.param is None


def test_words_that_msgspec_has_not_said_yet_still_make_a_refusal() -> None:
    error = refusal("Something new - at `$.a.b`", {"a": {"b": "x"}})
    assert (error.message, error.param, error.code) == ("Invalid value for 'a.b': 'x'.", "a.b", "invalid_value")


@pytest.mark.parametrize("name", ["a - at `$.b`", "`", "a`, got `b", "[...]", "$", ""])
def test_names_that_look_like_msgspecs_words_stay_names(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_body(Sample, msgspec.json.encode({"needed": 1, "labels": {name: 1}}))
    assert refused.value.param == f"labels.{name}"
    assert refused.value.code == "invalid_type"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({*CreateRun.__struct_fields__, *CreateThread.__struct_fields__, *CreateMessage.__struct_fields__})


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw of a machine without a cache takes a second
@given(st.dictionaries(st.sampled_from([*NAMES, "other"]), JSON, max_size=4))
def test_whatever_is_sent_is_decoded_or_refused_in_words(body: dict[str, Any]) -> None:
    sent = msgspec.json.encode(body)
    for kind in (CreateRun, CreateThread, CreateMessage):
        try:
            decode_body(kind, sent)
        except InvalidRequest as error:
            assert error.code is None or error.code in CODES
            assert error.message
            assert "`" not in error.message or "`" in sent.decode()
            assert "[...]" not in (error.param or "")


CODES = {
    *("missing_required_parameter", "unknown_parameter", "mutually_exclusive_parameters"),
    *("invalid_type", "invalid_value", "empty_string", "empty_array"),
    *("string_above_max_length", "array_above_max_length", "object_above_max_properties"),
    *("integer_above_max_value", "integer_below_min_value", "decimal_above_max_value", "decimal_below_min_value"),
}


@given(st.binary(max_size=40) | st.text(alphabet='{}[]":,0123456789.eE+-truefalsn \\u', max_size=40).map(str.encode))
def test_whatever_bytes_come_nothing_but_a_refusal_comes_out(body: bytes) -> None:
    try:
        decode_body(CreateThread, body)
    except InvalidRequest as error:
        assert error.message == NOT_JSON or error.code is not None
