"""The list envelope: ends, emptiness, and what is asked for when nothing is said."""

import msgspec
import pytest

from app.kit.pages import DEFAULT_LIMIT, MAX_LIMIT, Page, PageQuery, page_of


class Thing(msgspec.Struct):
    id: str


def test_a_page_names_its_ends() -> None:
    page = page_of([Thing("a"), Thing("b"), Thing("c")], has_more=True)
    assert msgspec.to_builtins(page) == {
        "object": "list",
        "data": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
        "first_id": "a",
        "last_id": "c",
        "has_more": True,
    }


def test_a_page_of_one_has_one_end_twice() -> None:
    page = page_of([Thing("a")], has_more=False)
    assert (page.first_id, page.last_id, page.has_more) == ("a", "a", False)


def test_an_empty_page_has_empty_ends_since_the_schemas_allow_no_null() -> None:
    page: Page[Thing] = page_of([], has_more=False)
    assert (page.data, page.first_id, page.last_id) == ([], "", "")


def test_nothing_said_is_the_newest_twenty() -> None:
    query = PageQuery()
    assert (query.limit, query.order, query.after, query.before) == (20, "desc", None, None)
    assert (DEFAULT_LIMIT, MAX_LIMIT) == (20, 100)


def test_a_page_does_not_share_the_list_that_it_was_made_of() -> None:
    things = [Thing("a")]
    page = page_of(things, has_more=False)
    things.append(Thing("b"))
    assert len(page.data) == 1
    with pytest.raises(AttributeError):
        page.has_more = True  # type: ignore[misc]
