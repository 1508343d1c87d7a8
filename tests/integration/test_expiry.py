"""Runs whose time is up, wherever they stand: they expire, keep what there is and let go of their thread."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import update

from app.db.tables import RunRow, table
from tests.fakes.model_server import model_server, refusing_url
from tests.fakes.model_tools import calling, calls, function, says_and_waits
from tests.fixtures.calls import Json, assert_refused, ended, get, new_assistant, new_thread, post, texts_of
from tests.fixtures.databases import create_postgres_database
from tests.fixtures.rooms import Served, served
from tests.fixtures.tools import names, path_of, steps_of, submit, told, waiting_run

pytestmark = pytest.mark.anyio

EXPIRES_AFTER_S = 2  # counted from a whole second: at least one is left to answer in
PRICE = function("get_price")
ARGUMENTS = '{"symbol":"ACME"}'


class Story(NamedTuple):
    """Two runs, as they were accepted and as they ended, both expired."""

    api: Any
    waiting: Json
    accepted: dict[str, Json]
    done: dict[str, Json]
    stream: Any


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def story(
    request: pytest.FixtureRequest, conformance: Any, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Story]:
    """Let a run wait for outputs and one be in the middle of its answer until both have expired."""
    url = f"sqlite:///{tmp_path_factory.mktemp('expiry')}/sovereign_assistant.db"
    if request.param == "postgresql":
        url = await create_postgres_database(request.getfixturevalue("postgres_url"))
    env = {"DATABASE_URL": url, "RUN_EXPIRES_AFTER_S": str(EXPIRES_AFTER_S)}
    async with model_server() as model, served(conformance, MODEL_URL=model.url, **env) as on:
        api = on.client
        model.script.extend([calls(calling("get_price", ARGUMENTS)), says_and_waits(asyncio.Event(), "half an answer")])
        assistant = await new_assistant(api, model="tiny", tools=[PRICE])
        threads = [await new_thread(api, "x") for _ in range(2)]
        waiting = await waiting_run(api, threads[0], assistant)
        body = {"assistant_id": assistant, "stream": True}
        streaming = asyncio.create_task(api.post(f"/v1/threads/{threads[1]}/runs", json=body))
        while not (listed := (await get(api, f"/v1/threads/{threads[1]}/runs"))["data"]):
            await asyncio.sleep(0.005)
        accepted = {"requires_action": waiting, "in_progress": listed[0]}
        done = {status: await ended(api, run) for status, run in accepted.items()}
        yield Story(api, waiting, accepted, done, await streaming)


@pytest.mark.parametrize("status", ["in_progress", "requires_action"])
async def test_an_expired_run_says_so_and_frees_its_thread(story: Story, status: str) -> None:
    run, accepted = story.done[status], story.accepted[status]
    assert (run["status"], run["expires_at"]) == ("expired", run["created_at"] + EXPIRES_AFTER_S)
    assert run["expires_at"] == accepted["expires_at"]
    assert {run[key] for key in ("required_action", "last_error", "completed_at", "failed_at", "cancelled_at")} == {
        None
    }
    await post(story.api, f"/v1/threads/{run['thread_id']}/messages", {"role": "user", "content": "free"})


async def test_what_an_expired_run_had_said_is_kept(story: Story) -> None:
    run = story.done["in_progress"]
    page = await get(story.api, f"/v1/threads/{run['thread_id']}/messages", run_id=run["id"])
    (message,) = page["data"]
    assert (message["status"], message["incomplete_details"]) == ("incomplete", {"reason": "run_expired"})
    assert message["content"][0]["text"]["value"] == "half an answer"
    (step,) = await steps_of(story.api, run)
    assert (step["status"], step["completed_at"], step["last_error"]) == ("expired", None, None)
    assert step["expired_at"] >= run["expires_at"]


async def test_a_stream_tells_of_the_expiry(story: Story) -> None:
    events = told(story.stream)
    assert names(events)[-3:] == ["thread.message.incomplete", "thread.run.step.expired", "thread.run.expired"]
    assert events[-1][1] == story.done["in_progress"]
    assert [events[-2][1]] == await steps_of(story.api, story.done["in_progress"])


async def test_calls_that_expired_are_kept_with_what_they_took(story: Story) -> None:
    run = story.done["requires_action"]
    (step,) = await steps_of(story.api, run)
    assert (step["type"], step["status"]) == ("tool_calls", "expired")
    assert step["step_details"]["tool_calls"][0]["function"] == {
        **{"name": "get_price", "arguments": ARGUMENTS},
        "output": None,
    }
    assert run["usage"] == step["usage"] == {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


@pytest.mark.parametrize("stream", [False, True])
async def test_outputs_that_come_too_late_are_refused(story: Story, stream: bool) -> None:
    answer = await submit(story.api, story.waiting, "7", stream=stream)
    assert_refused(answer, 'Runs in status "expired" do not accept tool outputs.')
    assert (await steps_of(story.api, story.waiting))[0]["status"] == "expired"


async def test_a_run_whose_model_server_never_comes_expires_in_the_queue(conformance: Any, sqlite_url: str) -> None:
    env = {"DATABASE_URL": sqlite_url, "RUN_EXPIRES_AFTER_S": str(EXPIRES_AFTER_S), "MODEL_URL": refusing_url()}
    async with served(conformance, **env) as on:
        thread, assistant = await new_thread(on.client, "x"), await new_assistant(on.client, model="tiny")
        body = {"assistant_id": assistant, "stream": True}
        events = told(await on.client.post(f"/v1/threads/{thread}/runs", json=body))
        assert [name for name, _ in events[-2:]] == ["thread.run.queued", "thread.run.expired"]
        run = await ended(on.client, events[-1][1])
        assert (run["status"], run["started_at"], run["last_error"]) == ("expired", None, None)
        assert events[-1][1] == run
        assert await steps_of(on.client, run) == []
        await post(on.client, f"/v1/threads/{thread}/messages", {"role": "user", "content": "free"})
        assert await texts_of(on.client, thread) == ["x", "free"]


async def test_outputs_in_the_second_before_the_sweep_are_too_late_already(served_rooms: Served) -> None:
    api, runs = served_rooms.client, table(RunRow)
    assistant, thread = await new_assistant(api, tools=[PRICE]), await new_thread(api, "get_price of ACME")
    run = await waiting_run(api, thread, assistant)
    past = update(runs).where(runs.c.id == run["id"]).values(expires_at=run["created_at"] - 1)
    await served_rooms.database.write(lambda tx: tx.run(past))
    answer = await submit(api, run, "7")
    assert_refused(answer, 'Runs in status "expired" do not accept tool outputs.')
    assert await served_rooms.parts.runs.expire_waiting() in (0, 1)  # the sweep may have come first
    assert (await get(api, path_of(run)))["status"] == "expired"
