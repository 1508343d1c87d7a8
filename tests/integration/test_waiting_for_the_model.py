"""A model server that is away, full or broken: runs wait where that helps, give up where it does not, and say why."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.engine.events import TurnRequeued
from app.engine.journal import Journal
from tests.fakes.model_faults import cuts, replies, resets, sends, stalls
from tests.fakes.model_gate import waits
from tests.fakes.model_server import DEFAULT_ANSWER, Exchange, model_server, refusing_url
from tests.fakes.model_tools import calling, calls, function
from tests.fakes.model_wire import MODEL, REFUSALS, died, models, role, text
from tests.fixtures.calls import (
    Json,
    assert_refused,
    became,
    completed_run,
    ended,
    get,
    new_assistant,
    new_run,
    new_thread,
    post,
    texts_of,
)
from tests.fixtures.rooms import Scripted, Served, served
from tests.fixtures.tools import names, path_of, steps_of, submit, told, waiting_run

pytestmark = pytest.mark.anyio

FULL = replies(*REFUSALS["queue full"])
BROKEN = replies(*REFUSALS["engine died"])


@asynccontextmanager
async def model_at(url: str) -> AsyncIterator[None]:
    """Serve the default answer at an address where nobody listened so far."""
    port = urlsplit(url).port

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if length := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
            await reader.readexactly(int(length[1]))
        asks = head.startswith("POST")
        body, kind = (DEFAULT_ANSWER, "text/event-stream") if asks else (models(MODEL), "application/json")
        answer = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(answer.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def tried_in_vain(on: Served, run: Json) -> None:
    """Wait until a run was put back into the queue."""
    async with asyncio.timeout(5):
        while TurnRequeued not in {type(told.event) for told in await Journal(on.database).events_after(run["id"], 0)}:
            await asyncio.sleep(0.01)


async def test_runs_wait_in_the_queue_until_the_model_server_is_up(conformance: Any, database_url: str) -> None:
    url = refusing_url()
    async with served(conformance, DATABASE_URL=database_url, MODEL_URL=url) as on:
        api = on.client
        assistant = await new_assistant(api, model=MODEL)
        threads = [await new_thread(api, f"question {n}") for n in range(3)]
        runs = [await new_run(api, thread, assistant) for thread in threads]
        where, body = f"/v1/threads/{await new_thread(api)}/runs", {"assistant_id": assistant, "stream": True}
        streaming = asyncio.create_task(api.post(where, json=body))
        while not (listed := (await get(api, where))["data"]):
            await asyncio.sleep(0.005)
        for run in (*runs, listed[0]):
            await tried_in_vain(on, run)
            waiting = await became(api, run, "queued")
            assert (waiting["started_at"], waiting["last_error"]) == (None, None)
        assert (await api.get("/health/ready")).status_code == 503
        held = f"Can't add messages to {threads[0]} while a run {runs[0]['id']} is active."
        message = {"role": "user", "content": "y"}
        assert_refused(await api.post(f"/v1/threads/{threads[0]}/messages", json=message), held)
        async with model_at(url):
            for number, run in enumerate(runs):
                assert (await ended(api, run))["status"] == "completed"
                assert await texts_of(api, threads[number]) == [f"question {number}", "hello there"]
                assert len(await steps_of(api, run)) == 1
            events = told(await streaming)
            assert events[-1][0] == "thread.run.completed"
            assert names(events).count("thread.run.queued") > 1
            assert (await api.get("/health/ready")).status_code == 200


async def test_a_run_that_waits_for_the_model_server_can_be_cancelled(conformance: Any, sqlite_url: str) -> None:
    async with served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=refusing_url()) as on:
        api = on.client
        thread, assistant = await new_thread(api, "x"), await new_assistant(api, model=MODEL)
        run = await became(api, await new_run(api, thread, assistant), "queued")
        await post(api, f"{path_of(run)}/cancel")
        assert (await ended(api, run))["status"] == "cancelled"


async def run_of(scripted: Scripted, *behaviours: Any, stream: bool = False) -> tuple[Json, list[str]]:
    """Carry out a run as the script says; return it as it ended, and what its stream told if it has one."""
    scripted.model.script.extend(behaviours)
    api = scripted.client
    assistant, thread = await new_assistant(api, model="tiny"), await new_thread(api, "x")
    answer = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": stream})
    run = await ended(api, (await get(api, f"/v1/threads/{thread}/runs"))["data"][0])
    await post(api, f"/v1/threads/{thread}/messages", {"role": "user", "content": "the thread is free"})
    return run, names(told(answer)) if stream else []


RECOVERABLE = {
    "full": FULL,
    "broken": BROKEN,
    "reset": resets(head=False),
    "closed": cuts(head=False),
    "cut before the first token": cuts(role()),
    "reset before the first token": resets(role()),
    "nonsense before the first token": sends(role(), b"data: nonsense\n\n"),
}


@pytest.mark.parametrize("fault", RECOVERABLE.values(), ids=[*RECOVERABLE])
async def test_a_fault_before_the_first_token_is_tried_again(scripted: Scripted, fault: Any) -> None:
    run, events = await run_of(scripted, fault, stream=True)
    assert (run["status"], run["last_error"]) == ("completed", None)
    assert await texts_of(scripted.client, run["thread_id"]) == ["x", "hello there", "the thread is free"]
    assert len(await steps_of(scripted.client, run)) == 1
    assert run["usage"]["completion_tokens"] == 2
    assert events[-1] == "thread.run.completed"


async def test_a_full_model_server_is_asked_four_times_and_then_given_up(scripted: Scripted) -> None:
    began = time.monotonic()
    run, events = await run_of(scripted, *[FULL] * 4, stream=True)
    assert (run["status"], run["last_error"]["code"]) == ("failed", "rate_limit_exceeded")
    assert "busy" in run["last_error"]["message"]
    assert len(scripted.asked) == 4
    assert 1.7 < time.monotonic() - began < 6
    assert events == [
        "thread.run.created",
        *["thread.run.queued", "thread.run.in_progress"] * 4,
        "thread.run.failed",
    ]


async def test_a_broken_model_server_is_asked_four_times_and_then_given_up(scripted: Scripted) -> None:
    run, _ = await run_of(scripted, *[BROKEN] * 4)
    assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
    assert len(scripted.asked) == 4


@pytest.mark.parametrize("refusal", ["prompt too long", "image to a text model", "unknown model", "bad schema"])
async def test_a_refusal_is_not_asked_for_again(scripted: Scripted, refusal: str) -> None:
    run, _ = await run_of(scripted, replies(*REFUSALS[refusal]))
    assert run["status"] == "failed"
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("fault", [cuts(role(), text("half ")), resets(role(), text("half "))], ids=["cut", "reset"])
async def test_a_fault_after_the_first_token_is_not_tried_again(scripted: Scripted, fault: Any) -> None:
    run, events = await run_of(scripted, fault, stream=True)
    assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
    assert len(scripted.asked) == 1
    assert await texts_of(scripted.client, run["thread_id"]) == ["x", "half ", "the thread is free"]
    assert events[-3:] == ["thread.message.incomplete", "thread.run.step.failed", "thread.run.failed"]


async def test_outputs_are_not_asked_for_again_when_the_model_is_asked_again(scripted: Scripted) -> None:
    api, tool = scripted.client, function("get_price")
    scripted.model.script.extend([calls(calling("get_price", "{}")), BROKEN])
    assistant = await new_assistant(api, model="tiny", tools=[tool])
    run = await waiting_run(api, await new_thread(api, "x"), assistant)
    assert (await submit(api, run, "7")).status_code == 200
    done = await ended(api, run)
    assert done["status"] == "completed"
    assert scripted.asked[1] == scripted.asked[2]
    assert [said["role"] for said in scripted.asked[2]["messages"]] == ["user", "assistant", "tool"]
    assert [step["type"] for step in await steps_of(api, run)] == ["tool_calls", "message_creation"]


async def test_a_run_that_pauses_lets_others_have_its_slot(narrow: Scripted) -> None:
    api = narrow.client
    narrow.model.script.extend([FULL, waits(gate := asyncio.Event(), "the other")])
    assistant = await new_assistant(api, model="tiny")
    first = await new_run(api, await new_thread(api, "first"), assistant)
    second = await new_run(api, await new_thread(api, "second"), assistant)
    await became(api, second, "in_progress")
    assert (await get(api, path_of(first)))["status"] == "queued"
    gate.set()
    assert {(await ended(api, run))["status"] for run in (first, second)} == {"completed"}


async def test_past_the_queue_there_is_429_also_for_outputs(narrow: Scripted) -> None:
    api, gate = narrow.client, asyncio.Event()
    tool = function("get_price")
    narrow.model.script.append(calls(calling("get_price", "{}")))
    assistant = await new_assistant(api, model="tiny", tools=[tool])
    waiting = await waiting_run(api, await new_thread(api, "x"), assistant)
    narrow.model.script.extend([waits(gate, "x")] * 3)
    runs = [await new_run(api, await new_thread(api, "x"), assistant) for _ in range(3)]
    refused = "Rate limit reached: too many runs are waiting for the model. Try again in a few seconds."
    kind: Any = {"status": 429, "code": "rate_limit_exceeded", "kind": "rate_limit_error"}
    thread = await new_thread(api, "x")
    for answer in (
        await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant}),
        await submit(api, waiting, "7"),
        await submit(api, waiting, "7", stream=True),
    ):
        assert_refused(answer, refused, **kind)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    # Refused outputs are not half taken, and a run that waits for outputs keeps no place from others.
    assert await get(api, path_of(waiting)) == waiting
    gate.set()
    for run in runs:
        assert (await ended(api, run))["status"] == "completed"
    assert (await submit(api, waiting, "7")).status_code == 200
    assert (await ended(api, waiting))["status"] == "completed"


async def test_a_silent_model_server_is_given_up(conformance: Any, sqlite_url: str) -> None:
    async with model_server() as model:
        env = {"MODEL_FIRST_TOKEN_TIMEOUT_S": "0.2", "MODEL_IDLE_TIMEOUT_S": "0.2"}
        async with served(conformance, DATABASE_URL=sqlite_url, MODEL_URL=model.url, **env) as on:
            api, assistant = on.client, await new_assistant(on.client, model="tiny")
            for silence in (stalls(head=False), stalls(), stalls(role(), text("half"))):
                model.script.append(silence)
                run = await ended(api, await new_run(api, await new_thread(api, "x"), assistant))
                assert (run["status"], run["last_error"]["code"]) == ("failed", "server_error")
            await completed_run(api, await new_thread(api, "x"), assistant)


async def test_an_engine_that_dies_before_the_first_token_is_asked_again(scripted: Scripted) -> None:
    async def dies(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(role() + died())
        await exchange.end()

    run, _ = await run_of(scripted, dies)
    assert run["status"] == "completed"
    assert scripted.asked[0] == scripted.asked[1]


async def test_pollers_are_told_when_to_ask_again_and_to_ask_less_often_while_the_queue_grows(
    conformance: Any, database_url: str
) -> None:
    async with served(conformance, DATABASE_URL=database_url, MODEL_URL=refusing_url(), RUN_CONCURRENCY="2") as on:
        api = on.client
        assistant = await new_assistant(api, model=MODEL)
        waits = []
        for _ in range(5):
            path = f"/v1/threads/{await new_thread(api, 'x')}/runs"
            created = await api.post(path, json={"assistant_id": assistant})
            again = await api.get(f"{path}/{created.json()['id']}")
            assert created.headers["openai-poll-after-ms"] == again.headers["openai-poll-after-ms"]
            waits.append(int(again.headers["openai-poll-after-ms"]))
        cancelled = await api.post(f"{path}/{created.json()['id']}/cancel")
        assert "openai-poll-after-ms" in cancelled.headers
        over = await api.get(f"{path}/{created.json()['id']}")
        assert (over.json()["status"], "openai-poll-after-ms" in over.headers) == ("cancelled", False)
    assert waits == [500, 500, 1000, 1000, 1500]
