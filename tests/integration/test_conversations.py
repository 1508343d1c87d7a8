"""/v1/conversations on both databases: what is made of them, what threads have of it, and what is refused."""

import asyncio
from typing import Any

import pytest

from tests.fakes.model_tools import function, says_and_waits
from tests.fixtures.calls import (
    assert_refused,
    completed_run,
    ended,
    get,
    new_assistant,
    new_run,
    new_thread,
    post,
    texts_of,
)
from tests.fixtures.conversations import (
    added,
    answers,
    calls,
    conversation_of,
    items_of,
    new_conversation,
    says,
    thread_of,
)
from tests.fixtures.rooms import Scripted
from tests.fixtures.tools import calls_of, submit, waiting_run

pytestmark = pytest.mark.anyio

LOCKED = "Another process is currently operating on this conversation. Please retry in a few seconds."
PICTURE = "data:image/png;base64,iVBORw0KGgo="


async def test_a_conversation_is_made_changed_and_deleted(rooms: Any) -> None:
    made = await post(rooms, "/v1/conversations", {"metadata": {"desk": "metals"}, "items": [says("user", "gold?")]})
    assert made == {
        "id": made["id"],
        "object": "conversation",
        "created_at": made["created_at"],
        "metadata": {"desk": "metals"},
    }
    where = f"/v1/conversations/{made['id']}"
    assert await get(rooms, where) == made
    changed = await post(rooms, where, {"metadata": {"desk": "energy"}})
    assert changed == made | {"metadata": {"desk": "energy"}}
    assert (await post(rooms, where, {"metadata": None}))["metadata"] == {}
    deleted = await rooms.delete(where)
    assert deleted.json() == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    for answer in (await rooms.get(where), await rooms.delete(where), await rooms.get(f"{where}/items")):
        assert_refused(answer, f"Conversation with id '{made['id']}' not found.", status=404)


async def test_nothing_need_be_sent(rooms: Any) -> None:
    made = await post(rooms, "/v1/conversations")
    assert made["metadata"] == {}
    assert await get(rooms, f"/v1/conversations/{made['id']}/items") == {
        "object": "list",
        "data": [],
        "first_id": "",
        "last_id": "",
        "has_more": False,
    }
    assert (await post(rooms, "/v1/conversations", {"items": None, "metadata": None}))["metadata"] == {}


async def test_added_items_are_answered_in_their_order_and_are_then_in_the_list(rooms: Any) -> None:
    conversation = await new_conversation(rooms, says("user", "one"))
    some = [says("assistant", "two"), calls("call_1"), answers("call_1", "3"), says("developer", "four")]
    page = await post(rooms, f"/v1/conversations/{conversation}/items", {"items": some})
    assert [item["type"] for item in page["data"]] == ["message", "function_call", "function_call_output", "message"]
    assert (page["object"], page["has_more"]) == ("list", False)
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    listed = await items_of(rooms, conversation)
    assert listed[1:] == page["data"]
    for item in listed:
        assert await get(rooms, f"/v1/conversations/{conversation}/items/{item['id']}") == item
    none = await post(rooms, f"/v1/conversations/{conversation}/items", {"items": []})
    assert (none["data"], none["first_id"]) == ([], "")


async def test_twenty_items_are_taken_at_a_time(rooms: Any) -> None:
    twenty = [says("user", str(number)) for number in range(20)]
    conversation = await new_conversation(rooms, *twenty)
    assert len(await added(rooms, conversation, *twenty)) == 20
    refused = await rooms.post(f"/v1/conversations/{conversation}/items", json={"items": [*twenty, twenty[0]]})
    text = "Invalid 'items': array too long. Expected an array with maximum length 20, "
    text += "but got an array with length 21 instead."
    assert_refused(refused, text, param="items", code="array_above_max_length")


async def test_a_thread_is_a_conversation_at_once_and_a_conversation_a_thread(rooms: Any) -> None:
    thread = await new_thread(rooms, "from the thread", metadata={"a": "b"})
    conversation = conversation_of(thread)
    assert (await get(rooms, f"/v1/conversations/{conversation}"))["metadata"] == {"a": "b"}
    (first,) = await items_of(rooms, conversation)
    assert first["content"] == [{"type": "input_text", "text": "from the thread"}]
    (second,) = await added(rooms, conversation, says("assistant", "from the conversation"))
    await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": "and back"})
    assert await texts_of(rooms, thread) == ["from the thread", "from the conversation", "and back"]
    message = await get(rooms, f"/v1/threads/{thread}/messages/{second['id']}")
    assert (message["role"], message["status"]) == ("assistant", "completed")
    assert len(await items_of(rooms, conversation)) == 3
    await post(rooms, f"/v1/conversations/{conversation}", {"metadata": {"c": "d"}})
    assert (await get(rooms, f"/v1/threads/{thread}"))["metadata"] == {"c": "d"}
    assert (await rooms.delete(f"/v1/threads/{thread}")).status_code == 200
    answer = await rooms.get(f"/v1/conversations/{conversation}")
    assert_refused(answer, f"Conversation with id '{conversation}' not found.", status=404)


async def test_a_picture_of_a_thread_is_one_of_its_conversation(rooms: Any) -> None:
    parts = [{"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]
    parts += [{"type": "image_file", "image_file": {"file_id": "file-1"}}]
    thread = (await post(rooms, "/v1/threads", {"messages": [{"role": "user", "content": parts}]}))["id"]
    (item,) = await items_of(rooms, conversation_of(thread))
    assert item["content"] == [
        {"type": "input_image", "image_url": PICTURE, "file_id": None, "detail": "low"},
        {"type": "input_image", "image_url": None, "file_id": "file-1", "detail": "auto"},
    ]


async def test_a_threads_tool_calls_are_items_with_their_outputs(rooms: Any) -> None:
    tools = [function("get_price", "Last price of a share"), function("get_weather", "Weather of a place")]
    assistant = await new_assistant(rooms, tools=tools)
    thread = await new_thread(rooms, "price and weather of Ulm, please")
    run = await waiting_run(rooms, thread, assistant)
    first, second = calls_of(run)
    conversation = conversation_of(thread)
    assert len(await items_of(rooms, conversation)) == 1  # a round without its outputs is not over
    await submit(rooms, run, "101.25", "rain")
    await ended(rooms, run)
    _, *round_trip, said = await items_of(rooms, conversation)
    assert round_trip == [
        *(
            {
                "type": "function_call",
                "id": call["id"].replace("call_", "fc_"),
                "call_id": call["id"],
                **call["function"],
                "status": "completed",
            }
            for call in (first, second)
        ),
        *(
            {
                "type": "function_call_output",
                "id": call["id"].replace("call_", "fco_"),
                "call_id": call["id"],
                "output": output,
                "status": "completed",
            }
            for call, output in ((first, "101.25"), (second, "rain"))
        ),
    ]
    assert (said["role"], said["content"][0]["type"]) == ("assistant", "output_text")
    for item in round_trip:
        assert await get(rooms, f"/v1/conversations/{conversation}/items/{item['id']}") == item


async def test_a_model_reads_what_a_conversation_holds(scripted: Scripted) -> None:
    conversation = await new_conversation(
        scripted.client,
        says("developer", "Be brief."),
        says("user", "what does ACME cost?"),
        calls("call_a", "get_price", '{"symbol":"ACME"}'),
        answers("call_a", [{"type": "input_text", "text": "101"}, {"type": "input_text", "text": "dollars"}]),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not say."}]},
        says("user", "please"),
    )
    assistant = await new_assistant(scripted.client)
    await completed_run(scripted.client, thread_of(conversation), assistant)
    function_called = {"name": "get_price", "arguments": '{"symbol":"ACME"}'}
    assert scripted.asked[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "what does ACME cost?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_a", "type": "function", "function": function_called}],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "101\ndollars"},
        {"role": "assistant", "content": "I will not say."},
        {"role": "user", "content": "please"},
    ]


async def test_a_run_locks_its_conversation_and_goes_with_it(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    conversation = await new_conversation(api, says("user", "x"))
    scripted.model.script.append(says_and_waits(gate, "still here"))
    run = await new_run(api, thread_of(conversation), await new_assistant(api))
    exchange = await scripted.chat()
    where = f"/v1/conversations/{conversation}"
    refused = await api.post(f"{where}/items", json={"items": [says("user", "y")]})
    assert_refused(refused, LOCKED, param="conversation", code="conversation_locked")
    assert (await api.delete(where)).status_code == 200
    await exchange.client_left()
    gate.set()
    assert (await api.get(f"/v1/threads/{run['thread_id']}/runs/{run['id']}")).status_code == 404


async def test_an_item_is_deleted_and_the_conversation_answered(rooms: Any) -> None:
    conversation = await new_conversation(
        rooms, says("user", "a"), says("system", "b"), calls("call_1"), answers("call_1", "c"), says("user", "d")
    )
    items = await items_of(rooms, conversation)
    whole = await get(rooms, f"/v1/conversations/{conversation}")
    for gone in (0, 1, 3):
        where = f"/v1/conversations/{conversation}/items/{items[gone]['id']}"
        deleted = await rooms.delete(where)
        assert (deleted.status_code, deleted.json()) == (200, whole)
        text = f"Item with id '{items[gone]['id']}' not found in conversation '{conversation}'."
        for answer in (await rooms.get(where), await rooms.delete(where)):
            assert_refused(answer, text, status=404)
    assert await items_of(rooms, conversation) == [items[2], items[4]]
    (message,) = (await get(rooms, f"/v1/threads/{thread_of(conversation)}/messages"))["data"]
    assert message["id"] == items[4]["id"]


async def test_a_call_of_a_model_is_deleted_with_its_output_and_an_output_alone(rooms: Any) -> None:
    tools = [function("get_price", "Last price of a share"), function("get_weather", "Weather of a place")]
    thread = await new_thread(rooms, "price and weather of Ulm, please")
    run = await waiting_run(rooms, thread, await new_assistant(rooms, tools=tools))
    await submit(rooms, run, "101.25", "rain")
    await ended(rooms, run)
    conversation = conversation_of(thread)
    asked, price, weather, price_out, weather_out, said = await items_of(rooms, conversation)
    await rooms.delete(f"/v1/conversations/{conversation}/items/{weather_out['id']}")
    assert await items_of(rooms, conversation) == [asked, price, weather, price_out, said]
    await rooms.delete(f"/v1/conversations/{conversation}/items/{price['id']}")
    assert await items_of(rooms, conversation) == [asked, weather, said]
    await rooms.delete(f"/v1/conversations/{conversation}/items/{weather['id']}")
    assert await items_of(rooms, conversation) == [asked, said]
    assert len((await get(rooms, f"/v1/conversations/{conversation}/items", limit=2))["data"]) == 2
    gone = await rooms.delete(f"/v1/conversations/{conversation}/items/{weather['id']}")
    text = f"Item with id '{weather['id']}' not found in conversation '{conversation}'."
    assert_refused(gone, text, status=404)


async def test_a_reference_is_a_copy_of_what_it_names(rooms: Any) -> None:
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": "low"}]}
    sources = [picture, says("system", "b"), calls("call_1"), answers("call_1", "c"), says("assistant", "d")]
    first = await new_conversation(rooms, *sources)
    items = await items_of(rooms, first)
    named = [{"type": "item_reference", "id": items[0]["id"]}, {"type": None, "id": items[1]["id"]}]
    named += [{"id": item["id"]} for item in items[2:]]
    second = await new_conversation(rooms, *named)
    copies = await items_of(rooms, second)
    assert [{**copy, "id": None} for copy in copies] == [{**item, "id": None} for item in items]
    assert not {copy["id"] for copy in copies} & {item["id"] for item in items}


async def test_a_reference_may_name_a_call_of_a_run(rooms: Any) -> None:
    thread = await new_thread(rooms, "get_price of ACME")
    tools = [function("get_price", "Last price of a share")]
    run = await waiting_run(rooms, thread, await new_assistant(rooms, tools=tools))
    await submit(rooms, run, "101.25")
    await ended(rooms, run)
    made = (await items_of(rooms, conversation_of(thread)))[1:3]
    other = await new_conversation(rooms, *({"id": item["id"]} for item in made))
    assert [item["call_id"] for item in await items_of(rooms, other)] == [item["call_id"] for item in made]
    assert [item["type"] for item in await items_of(rooms, other)] == ["function_call", "function_call_output"]


@pytest.mark.parametrize("unknown", ["msg_000000000000000000000000", "fc_1", "fc_0VbgGT7zL58lXAFaIRf94xP3", "x", ""])
async def test_a_reference_to_nothing_is_refused(rooms: Any, unknown: str) -> None:
    answer = await rooms.post("/v1/conversations", json={"items": [says("user", "x"), {"id": unknown}]})
    assert_refused(answer, f"Item with id '{unknown}' not found.", status=404, param="items")


async def test_an_item_is_only_in_its_own_conversation(rooms: Any) -> None:
    first, second = await new_conversation(rooms, says("user", "x"), calls("call_1")), await new_conversation(rooms)
    for item in await items_of(rooms, first):
        where = f"/v1/conversations/{second}/items/{item['id']}"
        text = f"Item with id '{item['id']}' not found in conversation '{second}'."
        for answer in (await rooms.get(where), await rooms.delete(where)):
            assert_refused(answer, text, status=404)
    malformed = await rooms.get(f"/v1/conversations/{second}/items/a.b")
    assert malformed.status_code == 400
    assert malformed.json()["error"]["param"] == "item_id"
    assert len(await items_of(rooms, first)) == 2
