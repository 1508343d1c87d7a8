"""What a response comes after: a chain of predecessors, a fork of one, a conversation; and what deleting one leaves."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db.tables import ItemRow, MessageRow, ResponseRow, RunEventsRow, RunRow, StepRow, ThreadRow, table
from tests.fakes.model_faults import replies
from tests.fakes.model_tools import argued, calls, named, says_and_waits
from tests.fakes.model_wire import REFUSALS
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
from tests.fixtures.responses import PATH, PRICE, became, items_of, new_conversation, respond, shown, text_of
from tests.fixtures.rooms import Scripted, Served

pytestmark = pytest.mark.anyio

TABLES = tuple(map(table, (ThreadRow, MessageRow, ItemRow, RunRow, StepRow, RunEventsRow, ResponseRow)))


def said(text: str) -> str:
    return f"say exactly: {text}"


async def rows_of(served: Served) -> dict[str, int]:
    """Count what is stored, by table."""

    def count(tx: Any) -> dict[str, int]:
        counted = ((rows.name, tx.first(select(func.count()).select_from(rows))) for rows in TABLES)
        return {name: row[0] for name, row in counted}

    return await served.database.read(count)


async def roles_shown(scripted: Scripted, **fields: Any) -> list[tuple[str, Any]]:
    """Make a response that says x; return what the model was shown."""
    await respond(scripted.client, "x", **fields)
    return shown(scripted.asked[-1])


async def test_a_chain_goes_on_and_its_instructions_do_not(scripted: Scripted) -> None:
    api = scripted.client
    first = await respond(api, "one", instructions="Be brief.")
    second = await respond(api, "two", previous_response_id=first["id"])
    third = await respond(api, "three", previous_response_id=second["id"], instructions="Be kind.")
    assert (third["previous_response_id"], third["conversation"]) == (second["id"], None)
    answer = ("assistant", "hello there")
    assert shown(scripted.asked[2]) == [
        ("system", "Be kind."),
        *(("user", "one"), answer, ("user", "two"), answer),
        ("user", "three"),
    ]


async def test_forks_of_one_predecessor_do_not_see_each_other(scripted: Scripted) -> None:
    api = scripted.client
    root = await respond(api, "root")
    left, right = [await respond(api, text, previous_response_id=root["id"]) for text in ("left", "right")]
    answer = ("assistant", "hello there")
    before = [("user", "root"), answer]
    assert await roles_shown(scripted, previous_response_id=left["id"]) == [
        *(*before, ("user", "left")),
        *(answer, ("user", "x")),
    ]
    assert await roles_shown(scripted, previous_response_id=right["id"]) == [
        *(*before, ("user", "right")),
        *(answer, ("user", "x")),
    ]
    assert await roles_shown(scripted, previous_response_id=root["id"]) == [*before, ("user", "x")]


async def test_two_forks_at_once_are_both_made(rooms: Any) -> None:
    root = await respond(rooms, said("root"))
    texts = [f"fork {n}" for n in range(5)]
    forks = await asyncio.gather(*(respond(rooms, said(text), previous_response_id=root["id"]) for text in texts))
    assert [text_of(fork) for fork in forks] == texts
    assert len({fork["id"] for fork in forks}) == 5


async def test_what_has_not_ended_is_not_gone_on_from(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    scripted.model.script.append(says_and_waits(gate, "Well"))
    response = await respond(api, "x", background=True)
    answer = await api.post(PATH, json={"input": "y", "previous_response_id": response["id"]})
    text = f"Previous response with id '{response['id']}' has not ended yet. Its status tells when it has."
    assert_refused(answer, text, param="previous_response_id", code="previous_response_in_progress")
    gate.set()
    await became(api, response, "completed")
    assert (await respond(api, "y", previous_response_id=response["id"]))["status"] == "completed"


async def test_a_conversation_is_gone_on_with_and_added_to(rooms: Any) -> None:
    conversation = await new_conversation(rooms)
    first = await respond(rooms, said("one"), conversation=conversation)
    second = await respond(rooms, said("two"), conversation={"id": conversation})
    assert (first["conversation"], second["conversation"]) == ({"id": conversation}, {"id": conversation})
    items = await items_of(rooms, conversation)
    assert [item["content"][0]["text"] for item in items] == [said("one"), "one", said("two"), "two"]
    assert items[1] == first["output"][0]
    asked = await get(rooms, f"{PATH}/{second['id']}/input_items")
    assert asked["data"] == [items[2]]


async def test_a_response_of_a_conversation_can_be_forked_away_from_it(scripted: Scripted) -> None:
    api = scripted.client
    conversation = await new_conversation(api)
    first = await respond(api, "one", conversation=conversation)
    await respond(api, "two", conversation=conversation)
    answer = ("assistant", "hello there")
    assert await roles_shown(scripted, previous_response_id=first["id"]) == [("user", "one"), answer, ("user", "x")]
    assert len(await items_of(api, conversation)) == 4


async def test_a_busy_conversation_is_locked_for_all(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    conversation = await new_conversation(api)
    thread, assistant = conversation.replace("conv_", "thread_"), await new_assistant(api, model="tiny")
    scripted.model.script.append(says_and_waits(gate, "Well"))
    response = await respond(api, "x", conversation=conversation, background=True)
    locked = "Another process is currently operating on this conversation. Please retry in a few seconds."
    answer = await api.post(PATH, json={"input": "y", "conversation": conversation})
    assert_refused(answer, locked, param="conversation", code="conversation_locked")
    run_id = response["id"].replace("resp_", "run_")
    answer = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant})
    assert_refused(answer, f"Thread {thread} already has an active run {run_id}.")
    run = await get(api, f"/v1/threads/{thread}/runs/{run_id}")
    assert (run["status"], run["assistant_id"]) == ("in_progress", "")
    await post(api, f"/v1/threads/{thread}/runs/{run_id}/cancel")
    assert text_of(await became(api, response, "cancelled")) == "Well"
    assert (await respond(api, "y", conversation=conversation))["status"] == "completed"


async def test_a_run_locks_its_conversation(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    thread, assistant = await new_thread(api, "x"), await new_assistant(api, model="tiny")
    scripted.model.script.append(says_and_waits(gate, "Well"))
    run = await new_run(api, thread, assistant)
    answer = await api.post(PATH, json={"input": "y", "conversation": thread.replace("thread_", "conv_")})
    assert answer.json()["error"]["code"] == "conversation_locked"
    gate.set()
    await ended(api, run)


async def test_turns_through_both_surfaces_are_one_conversation(rooms: Any) -> None:
    thread, assistant = await new_thread(rooms, said("one")), await new_assistant(rooms)
    conversation = thread.replace("thread_", "conv_")
    await completed_run(rooms, thread, assistant)
    response = await respond(rooms, said("two"), conversation=conversation)
    await post(rooms, f"/v1/threads/{thread}/messages", {"role": "user", "content": said("three")})
    await completed_run(rooms, thread, assistant)
    texts = [said("one"), "one", said("two"), "two", said("three"), "three"]
    assert await texts_of(rooms, thread) == texts
    assert [item["content"][0]["text"] for item in await items_of(rooms, conversation)] == texts
    messages = (await get(rooms, f"/v1/threads/{thread}/messages", order="asc"))["data"]
    assert messages[3]["run_id"] == response["id"].replace("resp_", "run_")


async def test_a_call_of_a_response_is_answered_in_a_run_s_conversation(scripted: Scripted) -> None:
    api = scripted.client
    conversation = await new_conversation(api)
    scripted.model.script.append(calls(named(0, "get_price"), argued(0, "{}")))
    [call] = (await respond(api, "Price?", conversation=conversation, tools=[PRICE]))["output"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "7"}
    await respond(api, [output], conversation=conversation, tools=[PRICE])
    await completed_run(api, conversation.replace("conv_", "thread_"), await new_assistant(api, model="tiny"))
    assert [role for role, _ in shown(scripted.asked[-1])] == ["user", "assistant", "tool", "assistant"]
    kinds = [item["type"] for item in await items_of(api, conversation)]
    assert kinds == ["message", "function_call", "function_call_output", "message", "message"]


async def test_references_are_copied_unless_they_stand_there_already(scripted: Scripted) -> None:
    api = scripted.client
    first = await respond(api, "one")
    [answer] = first["output"]
    reference = {"type": "item_reference", "id": answer["id"]}
    assert await roles_shown(scripted) == [("user", "x")]
    elsewhere = await respond(api, [reference, {"role": "user", "content": "y"}])
    assert shown(scripted.asked[-1]) == [("assistant", "hello there"), ("user", "y")]
    copies = (await get(api, f"{PATH}/{elsewhere['id']}/input_items", order="asc"))["data"]
    assert (copies[0]["content"], copies[0]["id"] == answer["id"]) == (answer["content"], False)
    await respond(api, [{"id": answer["id"]}, {"role": "user", "content": "y"}], previous_response_id=first["id"])
    assert shown(scripted.asked[-1]) == [("user", "one"), ("assistant", "hello there"), ("user", "y")]


async def test_an_output_needs_its_call_in_this_past(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(calls(named(0, "get_price"), argued(0, "{}")))
    response = await respond(api, "Price?", tools=[PRICE])
    call_id = response["output"][0]["call_id"]
    output = {"type": "function_call_output", "call_id": call_id, "output": "7"}
    answer = await api.post(PATH, json={"input": [output]})
    assert_refused(answer, f"No tool call found for function call output with call_id {call_id}.", param="input")
    fork = await respond(api, "x", previous_response_id=response["id"])
    await respond(api, [output], previous_response_id=fork["id"])
    await respond(api, [output], previous_response_id=response["id"])


async def test_a_deleted_response_is_gone_and_those_after_it_go_on(scripted: Scripted) -> None:
    api = scripted.client
    first = await respond(api, "one")
    second = await respond(api, "two", previous_response_id=first["id"])
    deleted = await api.delete(f"{PATH}/{first['id']}")
    assert deleted.json() == {"id": first["id"], "object": "response", "deleted": True}
    assert (await api.get(f"{PATH}/{first['id']}")).status_code == 404
    assert await get(api, f"{PATH}/{second['id']}") == second
    answer = ("assistant", "hello there")
    before = [("user", "one"), answer, ("user", "two"), answer]
    assert await roles_shown(scripted, previous_response_id=second["id"]) == [*before, ("user", "x")]


async def test_deleting_the_last_of_a_chain_leaves_nothing_of_it(served_rooms: Served) -> None:
    api, before = served_rooms.client, await rows_of(served_rooms)
    root = await respond(api, said("root"))
    second = await respond(api, said("second"), previous_response_id=root["id"])
    fork = await respond(api, said("fork"), previous_response_id=root["id"])
    both = await rows_of(served_rooms)
    assert (both["threads"] - before["threads"], both["messages"] - before["messages"]) == (2, 6)
    await api.delete(f"{PATH}/{second['id']}")
    cut = await rows_of(served_rooms)
    assert (cut["messages"], cut["runs"], cut["responses"]) == (
        both["messages"] - 2,
        both["runs"] - 1,
        both["responses"] - 1,
    )
    third = await respond(api, said("third"), previous_response_id=root["id"])
    assert (await rows_of(served_rooms))["threads"] == both["threads"]  # it went on where the second had been
    for response in (root, third):
        await api.delete(f"{PATH}/{response['id']}")
    assert (await get(api, f"{PATH}/{fork['id']}"))["status"] == "completed"
    assert (await rows_of(served_rooms))["messages"] == before["messages"] + 4  # the fork's, and what it went on from
    await api.delete(f"{PATH}/{fork['id']}")
    assert await rows_of(served_rooms) == before


async def test_deleting_an_older_response_leaves_the_one_that_goes_on_alone(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    first = await respond(api, "one")
    scripted.model.script.append(says_and_waits(gate, "Well"))
    second = await respond(api, "two", previous_response_id=first["id"], background=True)
    await api.delete(f"{PATH}/{first['id']}")
    gate.set()
    assert text_of(await became(api, second, "completed")) == "Well"


async def test_deleting_a_response_that_goes_on_ends_it(scripted: Scripted) -> None:
    gate, api = asyncio.Event(), scripted.client
    scripted.model.script.append(says_and_waits(gate, "Well"))
    response = await respond(api, "one", background=True)
    exchange = await scripted.chat()
    await api.delete(f"{PATH}/{response['id']}")
    await exchange.client_left()
    assert (await api.get(f"{PATH}/{response['id']}")).status_code == 404


async def test_a_chain_is_free_when_its_newest_is_deleted_while_it_goes_on(served_rooms: Served) -> None:
    api = served_rooms.client
    first = await respond(api, said("one"))
    before = await rows_of(served_rooms)
    running = await respond(api, "repeat 100000 words", previous_response_id=first["id"], background=True)
    await api.delete(f"{PATH}/{running['id']}")
    third = await respond(api, said("three"), previous_response_id=first["id"])
    assert (text_of(third), (await rows_of(served_rooms))["threads"]) == ("three", before["threads"])


async def test_what_a_deleted_response_put_into_a_conversation_stays(rooms: Any) -> None:
    conversation = await new_conversation(rooms)
    response = await respond(rooms, said("one"), conversation=conversation)
    await rooms.delete(f"{PATH}/{response['id']}")
    assert [item["content"][0]["text"] for item in await items_of(rooms, conversation)] == [said("one"), "one"]
    assert (await rooms.get(f"{PATH}/{response['id']}")).status_code == 404


async def test_a_response_goes_with_its_conversation(rooms: Any) -> None:
    conversation = await new_conversation(rooms)
    response = await respond(rooms, said("one"), conversation=conversation)
    await rooms.delete(f"/v1/conversations/{conversation}")
    assert (await rooms.get(f"{PATH}/{response['id']}")).status_code == 404


async def test_what_does_not_fit_into_the_window_fails_and_is_not_asked_again_with_less(scripted: Scripted) -> None:
    api = scripted.client
    first = await respond(api, "one")
    scripted.model.script.append(replies(*REFUSALS["prompt too long"]))
    failed = await respond(api, "two", previous_response_id=first["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "invalid_prompt")
    assert len(scripted.asked) == 2


async def test_a_failed_response_can_be_gone_on_from(scripted: Scripted) -> None:
    scripted.model.script.append(replies(*REFUSALS["bad schema"]))
    failed = await respond(scripted.client, "one")
    assert await roles_shown(scripted, previous_response_id=failed["id"]) == [("user", "one"), ("user", "x")]
