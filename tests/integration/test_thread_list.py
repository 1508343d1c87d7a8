"""GET /v1/threads, which the original lacked: order, cursors, and filters by metadata on both databases."""

from typing import Any

import pytest

from tests.fixtures.calls import assert_refused, get, new_thread, post

pytestmark = pytest.mark.anyio


async def marked(api: Any, **metadata: str) -> str:
    """Make a thread with metadata; return its id."""
    return await new_thread(api, metadata=metadata)


async def found(api: Any, **metadata: str) -> list[str]:
    """Return the ids of the threads that have this metadata, oldest first."""
    query = {f"metadata[{key}]": value for key, value in metadata.items()}
    return [thread["id"] for thread in (await get(api, "/v1/threads", order="asc", limit=100, **query))["data"]]


async def test_threads_are_listed_newest_first_as_they_are_retrieved(rooms: Any) -> None:
    ids = [await marked(rooms, shelf="order", n=str(n)) for n in range(3)]
    page = await get(rooms, "/v1/threads", limit=3)
    assert [thread["id"] for thread in page["data"]] == ids[::-1]
    assert page["data"] == [await get(rooms, f"/v1/threads/{name}") for name in ids[::-1]]
    assert (page["first_id"], page["last_id"]) == (ids[2], ids[0])
    assert await found(rooms, shelf="order") == ids


async def test_pages_are_walked_both_ways(rooms: Any) -> None:
    ids = [await marked(rooms, shelf="pages") for _ in range(5)]
    query: dict[str, Any] = {"metadata[shelf]": "pages", "limit": 2}
    walked, after = [], {}
    while True:
        page = await get(rooms, "/v1/threads", **query, **after)
        walked += [thread["id"] for thread in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert walked == ids[::-1]
    before = await get(rooms, "/v1/threads", **query, order="asc", before=ids[3])
    assert ([thread["id"] for thread in before["data"]], before["has_more"]) == (ids[1:3], True)
    between = await get(rooms, "/v1/threads", order="asc", after=ids[0], before=ids[3])
    assert [thread["id"] for thread in between["data"]] == ids[1:3]


async def test_all_of_some_metadata_must_be_there(rooms: Any) -> None:
    both = await marked(rooms, shelf="all", user="ada")
    await marked(rooms, shelf="all", user="bob")
    await marked(rooms, user="ada")
    assert await found(rooms, shelf="all", user="ada") == [both]
    assert await found(rooms, shelf="all", user="carol") == []
    assert await found(rooms, nothing="has this") == []


# Value asked for, and values near it that are not it.
NEAR = [
    ("ada", ["Ada", "ada ", " ada", "ad", "adam", "", '"ada"']),
    ('say "hi"', ["say hi", 'say "hi', "say \\"]),
    ('","user":"', ["", ",", '"']),
    ("a%b_c", ["aXbYc", "a%b", "%"]),
    ("a\\b", ["ab", "a\\\\b", "a/b"]),
    ("größe 🙂", ["grosse", "größe", "🙂"]),
    ("line\nbreak\ttab", ["line", "line break tab", "line\\nbreak\\ttab"]),
    ("", [" ", "x"]),
    ("null", ["", "None"]),
    ("1", ["01", "1.0", "11"]),
]


@pytest.mark.parametrize(("value", "others"), NEAR, ids=[repr(value) for value, _ in NEAR])
async def test_a_value_is_matched_whole_and_to_the_letter(rooms: Any, value: str, others: list[str]) -> None:
    key = f"key of {value}"[:60]
    wanted = await marked(rooms, **{"first": "x", key: value, "last": "y"})
    alone = await marked(rooms, **{key: value})
    for other in others:
        await marked(rooms, **{key: other})
        await marked(rooms, **{"first": "x", key: other})
    assert await found(rooms, **{key: value}) == [wanted, alone]


async def test_a_key_is_matched_whole(rooms: Any) -> None:
    wanted = await marked(rooms, whole="v")
    # The JSON of each of these holds the text of the pair, or nearly so.
    for key in ("who", "wholes", "unwhole", 'a"whole', 'x,"whole', "Whole", "whole "):
        await marked(rooms, **{key: "v"})
    await marked(rooms, other='"whole":"v"')
    await marked(rooms, other=',"whole":"v"')
    await marked(rooms, v="whole")
    assert await found(rooms, whole="v") == [wanted]


async def test_keys_with_quotes_brackets_and_unicode_are_found(rooms: Any) -> None:
    for key in ('he said "x"', "a[b]", "naïve 🙂", "a.b", "$.a", "' OR 1=1 --", "a\\"):
        thread = await marked(rooms, **{key: "found"})
        assert await found(rooms, **{key: "found"}) == [thread], key


async def test_a_changed_thread_is_found_by_what_it_has_now(rooms: Any) -> None:
    thread = await marked(rooms, phase="before the change")
    await post(rooms, f"/v1/threads/{thread}", {"metadata": {"phase": "after the change"}})
    assert await found(rooms, phase="before the change") == []
    assert await found(rooms, phase="after the change") == [thread]
    await rooms.delete(f"/v1/threads/{thread}")
    assert await found(rooms, phase="after the change") == []


async def test_a_cursor_of_another_list_is_refused(rooms: Any) -> None:
    other = await marked(rooms, shelf="elsewhere")
    answer = await rooms.get("/v1/threads", params={"after": other, "metadata[shelf]": "here"})
    told = f"Invalid 'after': no object with id '{other}' found in this list."
    assert_refused(answer, told, param="after", code="invalid_value")
    answer = await rooms.get("/v1/threads", params={"limit": 101})
    told = "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead."
    assert_refused(answer, told, param="limit", code="integer_above_max_value")


async def test_an_empty_list_has_no_cursors(rooms: Any) -> None:
    page = await get(rooms, "/v1/threads", **{"metadata[nobody]": "has this"})
    assert page == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}
