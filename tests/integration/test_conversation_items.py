"""Pages of a conversation's items on both databases, over messages, other items, and steps of several calls."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.db.database import ReadTx
from app.items.repository import ItemReader
from app.messages.history import END
from tests.fakes.model_tools import function
from tests.fixtures.calls import assert_refused, ended, get, new_assistant, new_thread, post
from tests.fixtures.conversations import added, answers, calls, conversation_of, items_of, says, thread_of, walked
from tests.fixtures.rooms import Served
from tests.fixtures.tools import submit, waiting_run

pytestmark = pytest.mark.anyio

TOOLS = [function("get_price", "Last price of a share"), function("get_weather", "Weather of a place")]


@pytest.fixture(scope="module")
async def mixed(served_rooms: Served) -> AsyncIterator[tuple[Any, str, list[dict[str, Any]]]]:
    """Give a client, a conversation of everything, with two rounds of two calls, and its items, oldest first."""
    api = served_rooms.client
    assistant = await new_assistant(api, tools=TOOLS)
    thread = await new_thread(api, "hello")
    conversation = conversation_of(thread)
    await added(api, conversation, says("system", "Be brief."), calls("call_1"), answers("call_1", "1"))
    for _ in range(2):
        await added(api, conversation, says("user", "price and weather of Ulm, please"))
        run = await waiting_run(api, thread, assistant)
        await submit(api, run, "101.25", "rain")
        assert (await ended(api, run))["status"] == "completed"
        await added(api, conversation, {"type": "reasoning", "summary": []})
    items = await items_of(api, conversation)
    kinds = ["message", "function_call", "function_call", "function_call_output", "function_call_output", "message"]
    assert [item["type"] for item in items] == [
        *("message", "message", "function_call", "function_call_output"),
        *[*kinds, "reasoning"] * 2,
    ]
    yield api, conversation, items


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_of_every_length_are_walked_without_a_gap_or_a_repetition(mixed: Any, order: str) -> None:
    api, conversation, items = mixed
    for limit in (1, 2, 3, 5, 7, 17, 18, 100):
        pages = [page async for page in walked(api, conversation, limit=limit, order=order)]
        assert [item for page in pages for item in page] == (items if order == "asc" else items[::-1])
        assert {len(page) for page in pages[:-1]} <= {limit}


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_may_begin_after_any_item(mixed: Any, order: str) -> None:
    api, conversation, items = mixed
    ordered = items if order == "asc" else items[::-1]
    for place, item in enumerate(ordered):
        query = {"limit": 4, "order": order, "after": item["id"]}
        page = await get(api, f"/v1/conversations/{conversation}/items", **query)
        assert page["data"] == ordered[place + 1 : place + 5]
        assert page["has_more"] is (place + 5 < len(ordered))


async def test_the_newest_come_first_unless_asked_otherwise(mixed: Any) -> None:
    api, conversation, items = mixed
    page = await get(api, f"/v1/conversations/{conversation}/items")
    assert page["data"] == items[::-1][:20]
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])


async def test_include_is_taken_and_changes_nothing(mixed: Any) -> None:
    api, conversation, items = mixed
    query = {"include[]": ["message.output_text.logprobs", "reasoning.encrypted_content"], "order": "asc"}
    assert (await get(api, f"/v1/conversations/{conversation}/items", **query))["data"] == items[:20]
    one = await get(api, f"/v1/conversations/{conversation}/items/{items[0]['id']}", **query)
    assert one == items[0]


async def test_a_cursor_of_another_list_is_refused(mixed: Any) -> None:
    api, conversation, _ = mixed
    other = (await post(api, "/v1/conversations", {"items": [says("user", "x"), calls("call_1")]}))["id"]
    cursors = [item["id"] for item in await items_of(api, other)]
    for cursor in [*cursors, "fc_0VbgGT7zL58lXAFaIRf94xP3", "fc_", "x", conversation]:
        answer = await api.get(f"/v1/conversations/{conversation}/items", params={"after": cursor})
        text = f"Invalid 'after': no object with id '{cursor}' found in this list."
        assert_refused(answer, text, param="after", code="invalid_value")


async def test_limits_and_orders_are_those_of_every_list(mixed: Any) -> None:
    api, conversation, _ = mixed
    for query, param in (({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"order": "up"}, "order")):
        answer = await api.get(f"/v1/conversations/{conversation}/items", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_no_item_of_whatever_kind_is_found_for_another_project(mixed: Any, served_rooms: Served) -> None:
    _, conversation, items = mixed
    thread = thread_of(conversation)

    def found(tx: ReadTx, project: str) -> list[bool]:
        reader = ItemReader(tx, project)
        calls = [item["call_id"] for item in items if item["type"] == "function_call"]
        known = [reader.call_known([(thread, END)], call) for call in set(calls) - {"call_1"}]
        return [*known, *(reader.find(item["id"]) is not None for item in items)]

    assert set(await served_rooms.database.read(lambda tx: found(tx, "proj_default"))) == {True}
    assert set(await served_rooms.database.read(lambda tx: found(tx, "proj_other"))) == {False}


async def test_steps_of_which_nothing_is_left_take_no_place_in_a_page(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=TOOLS), await new_thread(rooms, "hello")
    conversation, messages = conversation_of(thread), await items_of(rooms, conversation_of(thread))
    for _ in range(3):
        (asked,) = await added(rooms, conversation, says("user", "price and weather of Ulm, please"))
        run = await waiting_run(rooms, thread, assistant)
        await submit(rooms, run, "101.25", "rain")
        await ended(rooms, run)
        *_, first, second, _, _, said = await items_of(rooms, conversation)
        for item in (first, second, asked, said):
            assert (await rooms.delete(f"/v1/conversations/{conversation}/items/{item['id']}")).status_code == 200
    messages += await added(rooms, conversation, says("user", "bye"))
    for order, expected in (("asc", messages), ("desc", messages[::-1])):
        pages = [page async for page in walked(rooms, conversation, limit=1, order=order)]
        assert pages == [[item] for item in expected]
