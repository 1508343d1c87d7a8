"""Threads: made empty or full, changed, and deleted with all that is in them. On both databases."""

import time
from typing import Any

import pytest
from sqlalchemy import column, func, select, table

from tests.fixtures.calls import assert_refused, completed_run, get, new_assistant, new_thread, post, texts_of
from tests.fixtures.rooms import Served

pytestmark = pytest.mark.anyio

RESOURCES = {
    "code_interpreter": {"file_ids": ["file-1"]},
    "file_search": {"vector_store_ids": ["vs_1"]},
}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content": b""},
        {"content": b"", "headers": {"content-type": "application/json"}},
        {"content": b"{}"},
        {"json": {}},
        {"json": {"messages": None, "tool_resources": None, "metadata": None}},
        {"json": {"messages": []}},
    ],
    ids=["nothing", "empty", "empty JSON", "object without type", "object", "nulls", "no messages"],
)
async def test_a_thread_needs_nothing(rooms: Any, sent: dict[str, Any]) -> None:
    before = int(time.time())
    answer = await rooms.post("/v1/threads", **sent)
    assert answer.status_code == 200
    made = answer.json()
    assert before <= made.pop("created_at") <= time.time()
    thread = made.pop("id")
    assert made == {"object": "thread", "tool_resources": None, "metadata": {}}
    assert await texts_of(rooms, thread) == []


async def test_a_thread_is_made_with_its_messages_in_their_order(rooms: Any) -> None:
    texts = [f"number {n}" for n in range(30)]
    roles = ["user", "assistant"] * 15
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    body = {"messages": messages, "tool_resources": RESOURCES, "metadata": {"a": "b"}}
    made = await post(rooms, "/v1/threads", body)
    assert (made["tool_resources"], made["metadata"]) == (RESOURCES, {"a": "b"})
    assert await get(rooms, f"/v1/threads/{made['id']}") == made
    page = await get(rooms, f"/v1/threads/{made['id']}/messages", order="asc", limit=100)
    assert [message["content"][0]["text"]["value"] for message in page["data"]] == texts
    assert [message["role"] for message in page["data"]] == roles


async def test_a_message_that_is_wrong_names_its_place_and_leaves_no_thread(rooms: Any) -> None:
    messages = [{"role": "user", "content": "x"}, {"role": "user"}]
    answer = await rooms.post("/v1/threads", json={"messages": messages})
    param = "messages[1].content"
    assert_refused(answer, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


async def test_an_update_changes_what_was_sent_and_null_clears(rooms: Any) -> None:
    made = await post(rooms, "/v1/threads", {"tool_resources": RESOURCES, "metadata": {"a": "b"}})
    where = f"/v1/threads/{made['id']}"
    only_code = {"code_interpreter": {"file_ids": []}}
    for body, expected in (
        ({}, made),
        ({"metadata": {"c": "d"}}, {**made, "metadata": {"c": "d"}}),
        ({"tool_resources": only_code}, {**made, "metadata": {"c": "d"}, "tool_resources": only_code}),
        ({"tool_resources": None, "metadata": None}, {**made, "metadata": {}, "tool_resources": None}),
    ):
        assert await post(rooms, where, body) == expected
        assert await get(rooms, where) == expected


async def test_messages_cannot_be_changed_through_their_thread(rooms: Any) -> None:
    thread = await new_thread(rooms)
    answer = await rooms.post(f"/v1/threads/{thread}", json={"messages": []})
    assert_refused(answer, "Unknown parameter: 'messages'.", param="messages", code="unknown_parameter")


async def test_deleting_says_so_once(rooms: Any) -> None:
    thread = await new_thread(rooms, "x")
    answer = await rooms.delete(f"/v1/threads/{thread}")
    assert answer.json() == {"id": thread, "object": "thread.deleted", "deleted": True}
    unknown = f"No thread found with id '{thread}'."
    for again in (
        await rooms.delete(f"/v1/threads/{thread}"),
        await rooms.get(f"/v1/threads/{thread}"),
        await rooms.post(f"/v1/threads/{thread}", json={}),
        await rooms.get(f"/v1/threads/{thread}/messages"),
        await rooms.post(f"/v1/threads/{thread}/messages", json={"role": "user", "content": "x"}),
        await rooms.get(f"/v1/threads/{thread}/runs"),
        await rooms.post(f"/v1/threads/{thread}/runs", json={"assistant_id": "asst_x"}),
    ):
        assert_refused(again, unknown, status=404)


async def rows_of(served: Served, thread: str, runs: list[str]) -> dict[str, int]:
    """Count what the tables hold of a thread."""
    kept = {name: select(func.count()).select_from(table(name)) for name in ("messages", "runs", "run_steps")}
    counts = {name: count.where(column("thread_id") == thread) for name, count in kept.items()}
    counts["threads"] = select(func.count()).select_from(table("threads")).where(column("id") == thread)
    counts["run_events"] = select(func.count()).select_from(table("run_events")).where(column("run_id").in_(runs))
    return {
        name: await served.database.read(lambda tx, count=count: tx.all(count)[0][0])  # type: ignore[misc]
        for name, count in counts.items()
    }


async def test_deleting_a_thread_takes_everything_in_it_and_nothing_else(served_rooms: Served) -> None:
    api: Any = served_rooms.client
    assistant = await new_assistant(api)
    threads = [await new_thread(api, "say exactly: a") for _ in range(2)]
    runs = {thread: [(await completed_run(api, thread, assistant))["id"] for _ in range(2)] for thread in threads}
    gone, kept = threads
    before = [await rows_of(served_rooms, thread, runs[thread]) for thread in threads]
    assert before[0] == before[1]
    assert {name: count for name, count in before[0].items() if name != "run_events"} == {
        "threads": 1,
        "messages": 3,
        "runs": 2,
        "run_steps": 2,
    }
    assert before[0]["run_events"] > 0
    await api.delete(f"/v1/threads/{gone}")
    assert set((await rows_of(served_rooms, gone, runs[gone])).values()) == {0}
    assert await rows_of(served_rooms, kept, runs[kept]) == before[1]
    assert await get(api, f"/v1/assistants/{assistant}")
