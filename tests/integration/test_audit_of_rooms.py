"""Every create, update and delete leaves its record in the audit, in its own transaction; reading leaves none."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from app.db.tables import AuditRow, table
from tests.conformance.checker import Checker
from tests.fakes.callers import CALLER
from tests.fixtures.calls import get, new_assistant, new_thread, post
from tests.fixtures.rooms import Served, served
from tests.fixtures.tools import path_of, submit, waiting_run

pytestmark = pytest.mark.anyio

AUDIT = table(AuditRow)
SECRET = "what nobody may read in an audit"


PRICE = {
    "type": "function",
    "function": {"name": "get_price", "parameters": {"type": "object", "properties": {"symbol": {"type": "string"}}}},
}


@pytest.fixture
async def served_alone(conformance: Checker, stand_in_url: str, database_url: str) -> AsyncIterator[Served]:
    """Give an API with a store of its own, over each engine."""
    async with served(conformance, DATABASE_URL=database_url, MODEL_URL=stand_in_url) as on:
        yield on


async def records(on: Served) -> list[Any]:
    """Read the audit as it is kept, sealed or not."""
    return list(await on.database.read(lambda tx: tx.all(AUDIT.select().order_by(AUDIT.c.seq))))


async def done(on: Served) -> list[tuple[str, str]]:
    return [(row.action, row.object_id) for row in await records(on)]


async def test_every_change_is_recorded_under_the_request_that_made_it(served_alone: Served) -> None:
    on, api = served_alone, served_alone.client
    assistant = await new_assistant(api, instructions=SECRET, metadata={"note": SECRET})
    await post(api, f"/v1/assistants/{assistant}", {"name": SECRET})
    thread = (await post(api, "/v1/threads", {"messages": [{"role": "user", "content": SECRET}] * 2}))["id"]
    first, second = (await get(api, f"/v1/threads/{thread}/messages", order="asc"))["data"]
    await post(api, f"/v1/threads/{thread}", {"metadata": {"a": SECRET}})
    third = await post(api, f"/v1/threads/{thread}/messages", {"role": "user", "content": SECRET})
    await post(api, f"/v1/threads/{thread}/messages/{third['id']}", {"metadata": {"a": SECRET}})
    await api.delete(f"/v1/threads/{thread}/messages/{third['id']}")
    deleted = await api.delete(f"/v1/threads/{thread}")
    await api.delete(f"/v1/assistants/{assistant}")
    assert await done(on) == [
        ("assistant.create", assistant),
        ("assistant.update", assistant),
        ("thread.create", thread),
        ("message.create", first["id"]),
        ("message.create", second["id"]),
        ("thread.update", thread),
        ("message.create", third["id"]),
        ("message.update", third["id"]),
        ("message.delete", third["id"]),
        ("thread.delete", thread),
        ("assistant.delete", assistant),
    ]
    rows = await records(on)
    assert rows[-2].request_id == deleted.headers["x-request-id"]
    assert {(row.project_id, row.key_id, row.outcome) for row in rows} == {("proj_default", "key_bootstrap", "ok")}
    assert SECRET not in repr(rows)


async def test_what_happens_to_stored_completions_is_recorded(served_alone: Served) -> None:
    on, api = served_alone, served_alone.client
    message = {"role": "assistant", "content": SECRET}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {"object": "chat.completion", "created": 1_700_000_000, "model": SECRET}
    asked = {"messages": [{"role": "user", "content": SECRET}], "metadata": {"note": SECRET}}
    caller = replace(CALLER, request_id="req_of_the_chat")
    kept = ["chatcmpl-1", "chatcmpl-3"]
    for kept_id in kept:
        await on.parts.stored.keep(caller, asked, {**answer, "id": kept_id, "choices": choices})
    await post(api, f"/v1/chat/completions/{kept[0]}", {"metadata": {"a": SECRET}})
    await api.post("/v1/chat/completions/chatcmpl-2", json={"metadata": {"a": SECRET}})
    await get(api, f"/v1/chat/completions/{kept[0]}/messages")
    deleted = await api.delete(f"/v1/chat/completions/{kept[1]}")
    await api.delete(f"/v1/chat/completions/{kept[1]}")
    assert await done(on) == [
        ("chat_completion.create", "chatcmpl-1"),
        ("chat_completion.create", kept[1]),
        ("chat_completion.update", "chatcmpl-1"),
        ("chat_completion.delete", kept[1]),
    ]
    rows = await records(on)
    assert rows[0].request_id == "req_of_the_chat"
    assert rows[-1].request_id == deleted.headers["x-request-id"]
    assert SECRET not in repr(rows)


async def test_what_happens_to_conversations_is_recorded_as_of_the_threads_that_they_are(served_alone: Served) -> None:
    on, api = served_alone, served_alone.client
    said, told = {"role": "user", "content": SECRET}, {"role": "system", "content": SECRET}
    made = await post(api, "/v1/conversations", {"items": [said, told], "metadata": {"note": SECRET}})
    where, thread = f"/v1/conversations/{made['id']}", made["id"].replace("conv_", "thread_")
    second, first = (await get(api, f"{where}/items"))["data"]
    await post(api, where, {"metadata": {"a": SECRET}})
    (third,) = (await post(api, f"{where}/items", {"items": [{"id": second["id"]}]}))["data"]
    await api.delete(f"{where}/items/{first['id']}")
    await api.delete(f"{where}/items/{third['id']}")
    await api.delete(f"{where}/items/{third['id']}")
    await api.post(f"{where}/items", json={"items": [told, {"role": "nobody", "content": SECRET}]})
    deleted = await api.delete(where)
    assert await done(on) == [
        ("thread.create", thread),
        ("message.create", first["id"]),
        ("item.create", second["id"]),
        ("thread.update", thread),
        ("item.create", third["id"]),
        ("message.delete", first["id"]),
        ("item.delete", third["id"]),
        ("thread.delete", thread),
    ]
    rows = await records(on)
    assert rows[-1].request_id == deleted.headers["x-request-id"]
    assert SECRET not in repr(rows)


async def test_what_happens_to_runs_is_recorded(served_alone: Served) -> None:
    on, api = served_alone, served_alone.client
    assistant, thread = await new_assistant(api, tools=[PRICE]), await new_thread(api, "get_price of ACME")
    run = await waiting_run(api, thread, assistant)
    await post(api, path_of(run), {"metadata": {"a": "b"}})
    await submit(api, run, "7")
    other = await waiting_run(api, await new_thread(api, "get_price of ACME"), assistant)
    await post(api, f"{path_of(other)}/cancel", {})
    runs = [(action, key) for action, key in await done(on) if action.startswith("run.")]
    assert runs == [
        ("run.create", run["id"]),
        ("run.update", run["id"]),
        ("run.submit_tool_outputs", run["id"]),
        ("run.create", other["id"]),
        ("run.cancel", other["id"]),
    ]


async def test_what_was_refused_or_only_read_changes_nothing_and_is_not_recorded(served_alone: Served) -> None:
    on, api = served_alone, served_alone.client
    thread = await new_thread(api)
    before = await done(on)
    await api.post(f"/v1/threads/{thread}/messages", json={"role": "nobody", "content": "x"})
    await api.delete("/v1/threads/thread_000000000000000000000000")
    await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": "asst_000000000000000000000000"})
    await api.get(f"/v1/threads/{thread}/messages")
    assert await done(on) == before
