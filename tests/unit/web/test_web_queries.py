"""Path ids and query parameters: what is read, and the words for what cannot be."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.datastructures import MultiDict

from app.errors import InvalidRequest
from app.kit.pages import PageQuery
from app.web.queries import ascending_page, forward_page, page_query, require_id, require_storable


def read(*pairs: tuple[str, str]) -> PageQuery:
    request: Any = SimpleNamespace(query_params=MultiDict(list(pairs)))
    return page_query(request)


def refused(*pairs: tuple[str, str]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        read(*pairs)
    return raised.value


def test_nothing_said_is_the_first_page() -> None:
    assert read() == PageQuery(limit=20, order="desc", after=None, before=None)


def test_everything_said_is_taken() -> None:
    pairs = (("limit", "7"), ("order", "asc"), ("after", "msg_a"), ("before", "msg_b"), ("other", "x"))
    assert read(*pairs) == PageQuery(limit=7, order="asc", after="msg_a", before="msg_b")


@pytest.mark.parametrize("limit", ["1", "100", "007"])
def test_a_limit_within_its_bounds_is_taken(limit: str) -> None:
    assert read(("limit", limit)).limit == int(limit)


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("0", "integer_below_min_value"),
        ("-5", "integer_below_min_value"),
        ("101", "integer_above_max_value"),
        ("999999999999999999", "integer_above_max_value"),
        ("9" * 19, "invalid_type"),
        ("1_0", "invalid_type"),
        ("１", "invalid_type"),
        ("", "invalid_type"),
    ],
)
def test_a_limit_beyond_them_or_none_at_all_is_refused(limit: str, code: str) -> None:
    error = refused(("limit", limit))
    assert (error.param, error.code) == ("limit", code)


def test_the_words_for_a_limit_are_the_originals() -> None:
    error = refused(("limit", "101"))
    assert error.message == (
        "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead."
    )


@pytest.mark.parametrize("order", ["", "ASC", "ascending"])
def test_an_order_is_one_of_two(order: str) -> None:
    error = refused(("order", order))
    assert error.message == f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'."


@pytest.mark.parametrize("name", ["after", "before"])
def test_a_cursor_is_an_id_or_nothing(name: str) -> None:
    assert getattr(read((name, "")), name) is None
    assert getattr(read((name, "after")), name) == "after"
    error = refused((name, "msg_\0"))
    assert (error.param, error.code) == (name, "invalid_value")


@pytest.mark.parametrize("value", ["thread_abc", "thread", "thread-1", "threads_X9"])
def test_an_id_that_can_be_one_is_given_back(value: str) -> None:
    assert require_id("thread_id", value, "thread") == value


@pytest.mark.parametrize("value", ["undefined", "null", "", "run_1", "Thread_1", " thread_1"])
def test_an_id_of_another_kind_is_refused_in_the_originals_words(value: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        require_id("thread_id", value, "thread")
    error = cast(InvalidRequest, raised.value)
    assert error.message == f"Invalid 'thread_id': '{value}'. Expected an ID that begins with 'thread'."
    assert (error.param, error.code) == ("thread_id", "invalid_value")


@pytest.mark.parametrize("value", ["thread_\0", "thread_é", "thread_a b", "thread_a\n", "thread_'; DROP TABLE threads"])
def test_an_id_with_other_characters_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="letters, numbers, underscores, or dashes"):
        require_id("thread_id", value, "thread")


def test_some_lists_are_ascending_and_have_no_before() -> None:
    def read_up(*pairs: tuple[str, str]) -> PageQuery:
        request: Any = SimpleNamespace(query_params=MultiDict(list(pairs)))
        return ascending_page(request)

    assert read_up() == PageQuery(limit=20, order="asc")
    pairs = (("limit", "7"), ("order", "desc"), ("after", "chatcmpl-1"), ("before", "chatcmpl-2"))
    assert read_up(*pairs) == PageQuery(limit=7, order="desc", after="chatcmpl-1")


def test_some_lists_are_descending_and_have_no_before() -> None:
    def read_forward(*pairs: tuple[str, str]) -> PageQuery:
        request: Any = SimpleNamespace(query_params=MultiDict(list(pairs)))
        return forward_page(request)

    assert read_forward() == PageQuery(limit=20, order="desc")
    pairs = (("limit", "7"), ("order", "asc"), ("after", "msg_1"), ("before", "msg_2"))
    assert read_forward(*pairs) == PageQuery(limit=7, order="asc", after="msg_1")
    with pytest.raises(InvalidRequest):
        read_forward(("after", "a b"))


def test_a_text_with_a_zero_character_is_not_looked_for() -> None:
    assert require_storable("model", "größe\n") == "größe\n"
    for text in ("\0", "a\0", "a\n\0b"):
        with pytest.raises(InvalidRequest):
            require_storable("model", text)
