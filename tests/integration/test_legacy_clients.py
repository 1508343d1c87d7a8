"""Programs of the first Sovereign Assistant API: the key header, the health, threads that belong to an assistant."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import column, func, select, table

from app import __version__
from tests.fakes.model_server import model_server, refusing_url
from tests.fixtures.calls import (
    assert_refused,
    completed_run,
    ended,
    get,
    new_assistant,
    new_thread,
    post,
    texts_of,
)
from tests.fixtures.rooms import Scripted, Served, served
from tests.fixtures.servers import API_KEY

pytestmark = pytest.mark.anyio


async def test_the_old_header_carries_the_key_through_a_whole_conversation(rooms: Any) -> None:
    old = {"X-API-Key": API_KEY, "Authorization": ""}

    async def call(method: str, path: str, body: Any = None) -> Any:
        answer = await rooms.request(method, path, json=body, headers=old)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assistant = await call("POST", "/v1/assistants", {"name": "Desk", "instructions": "Be brief."})
    thread = await call("POST", "/v1/threads", {"assistant_id": assistant["id"]})
    await call("POST", f"/v1/threads/{thread['id']}/messages", {"role": "user", "content": "say exactly: done"})
    run = await call("POST", f"/v1/threads/{thread['id']}/runs", {})
    assert (await ended(rooms, run))["status"] == "completed"
    messages = await call("GET", f"/v1/threads/{thread['id']}/messages")
    assert messages["data"][0]["content"][0]["text"]["value"] == "done"
    await call("DELETE", f"/v1/assistants/{assistant['id']}")


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"X-API-Key": "wrong"}], ids=["no key", "a wrong one"])
async def test_health_tells_three_things_without_a_key(shared_api: Any, headers: dict[str, str]) -> None:
    answer = await shared_api.get("/health", headers=headers)
    assert answer.status_code == 200
    told = answer.json()
    assert list(told) == ["status", "version", "timestamp"]
    assert (told["status"], told["version"]) == ("healthy", __version__)
    moment = datetime.fromisoformat(told["timestamp"])
    assert abs(datetime.now(moment.tzinfo) - moment) < timedelta(seconds=5)
    assert moment.utcoffset() == timedelta(0)


async def test_an_assistant_without_a_model_gets_the_one_that_is_served(scripted: Scripted) -> None:
    for sent in ({}, {"model": None}):
        made = await post(scripted.client, "/v1/assistants", {"name": "Desk", "instructions": "Be brief.", **sent})
        assert (made["name"], made["instructions"], made["model"]) == ("Desk", "Be brief.", "tiny")
    run = await completed_run(scripted.client, await new_thread(scripted.client, "x"), made["id"])
    assert run["model"] == scripted.asked[-1]["model"] == "tiny"


async def test_the_setting_names_the_model_also_while_no_server_answers(conformance: Any, sqlite_url: str) -> None:
    env = {"DATABASE_URL": sqlite_url, "MODEL_URL": refusing_url()}
    async with served(conformance, MODEL_NAME="named-by-us", **env) as api:
        assert (await post(api.client, "/v1/assistants", {"name": "Desk"}))["model"] == "named-by-us"
    async with served(conformance, **env) as api:
        answer = await api.client.post("/v1/assistants", json={"name": "Desk"})
        kind = "service_unavailable_error"
        assert_refused(answer, "The model server cannot be reached.", status=503, kind=kind)
        assert re.fullmatch("[1-9][0-9]*", answer.headers["retry-after"])
        assert (await post(api.client, "/v1/assistants", {"model": "sent"}))["model"] == "sent"


async def test_a_server_that_serves_nothing_yet_is_said_to(conformance: Any, sqlite_url: str) -> None:
    async def lists_nothing(exchange: Any) -> None:
        await exchange.reply(200, b'{"object":"list","data":[]}')

    async with model_server() as model:
        model.listing = lists_nothing
        async with served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=model.url) as api:
            answer = await api.client.post("/v1/assistants", json={})
            text = "The model server serves no model yet."
            assert_refused(answer, text, status=503, kind="service_unavailable_error")


async def test_a_bound_thread_names_its_assistant_and_others_do_not(rooms: Any) -> None:
    assistant = await new_assistant(rooms)
    made = await post(rooms, "/v1/threads", {"assistant_id": assistant})
    assert made["assistant_id"] == assistant
    assert await get(rooms, f"/v1/threads/{made['id']}") == made
    for body in ({}, {"assistant_id": None}):
        assert "assistant_id" not in await post(rooms, "/v1/threads", body)


async def test_a_bound_thread_is_run_by_its_assistant_unless_another_is_named(rooms: Any) -> None:
    own, other = await new_assistant(rooms, instructions="Own."), await new_assistant(rooms, instructions="Other.")
    thread = await new_thread(rooms, "x", assistant_id=own)
    for body, expected in (({}, own), ({"assistant_id": None}, own), ({"assistant_id": other}, other)):
        run = await ended(rooms, await post(rooms, f"/v1/threads/{thread}/runs", body))
        assert (run["status"], run["assistant_id"]) == ("completed", expected)
    message = (await get(rooms, f"/v1/threads/{thread}/messages", order="asc"))["data"][1]
    assert message["assistant_id"] == own


async def test_a_bound_thread_can_be_made_and_run_in_one_call(rooms: Any) -> None:
    assistant = await new_assistant(rooms)
    thread = {"assistant_id": assistant, "messages": [{"role": "user", "content": "say exactly: both"}]}
    run = await ended(rooms, await post(rooms, "/v1/threads/runs", {"thread": thread}))
    assert run["assistant_id"] == assistant
    assert await texts_of(rooms, run["thread_id"]) == ["say exactly: both", "both"]


async def test_a_thread_is_bound_to_an_assistant_that_exists(rooms: Any) -> None:
    answer = await rooms.post("/v1/threads", json={"assistant_id": "asst_unknown"})
    assert_refused(answer, "No assistant found with id 'asst_unknown'.", status=404)
    for path, body, param in (
        ("/v1/threads", {"assistant_id": "undefined"}, "assistant_id"),
        ("/v1/threads/runs", {"thread": {"assistant_id": "undefined"}}, "thread.assistant_id"),
    ):
        answer = await rooms.post(path, json=body)
        text = f"Invalid '{param}': 'undefined'. Expected an ID that begins with 'asst'."
        assert_refused(answer, text, param=param, code="invalid_value")


async def test_a_binding_is_for_good(rooms: Any) -> None:
    thread = await new_thread(rooms, assistant_id=await new_assistant(rooms))
    answer = await rooms.post(f"/v1/threads/{thread}", json={"assistant_id": await new_assistant(rooms)})
    assert_refused(answer, "Unknown parameter: 'assistant_id'.", param="assistant_id", code="unknown_parameter")


async def left_of(api: Served, thread: str, run: str) -> dict[str, int]:
    counts = {}
    for name, key, value in (
        ("threads", "id", thread),
        ("messages", "thread_id", thread),
        ("runs", "thread_id", thread),
        ("run_steps", "thread_id", thread),
        ("run_events", "run_id", run),
    ):
        count = select(func.count()).select_from(table(name)).where(column(key) == value)
        counts[name] = await api.database.read(lambda tx, count=count: tx.all(count)[0][0])  # type: ignore[misc]
    return counts


async def test_deleting_an_assistant_takes_the_threads_that_are_bound_to_it_and_no_others(served_rooms: Served) -> None:
    api: Any = served_rooms.client
    own, other = await new_assistant(api), await new_assistant(api)
    bound, free = await new_thread(api, "x", assistant_id=own), await new_thread(api, "x")
    elsewhere = await new_thread(api, "x", assistant_id=other)
    runs = {thread: (await completed_run(api, thread, own))["id"] for thread in (bound, free, elsewhere)}
    before = await left_of(served_rooms, bound, runs[bound])
    assert all(before.values())
    await api.delete(f"/v1/assistants/{own}")
    assert_refused(await api.get(f"/v1/threads/{bound}"), f"No thread found with id '{bound}'.", status=404)
    assert set((await left_of(served_rooms, bound, runs[bound])).values()) == {0}
    for kept in (free, elsewhere):
        assert await left_of(served_rooms, kept, runs[kept]) == before


async def test_deleting_a_bound_thread_leaves_its_assistant(rooms: Any) -> None:
    assistant = await new_assistant(rooms)
    await rooms.delete(f"/v1/threads/{await new_thread(rooms, 'x', assistant_id=assistant)}")
    assert (await get(rooms, f"/v1/assistants/{assistant}"))["id"] == assistant
