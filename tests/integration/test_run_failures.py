"""Runs that cannot be carried out: a clear last_error, a thread that is free again, and 429 before it comes to that."""

import asyncio
import json
from typing import Any

import pytest

from tests.conformance.sse import parse
from tests.fakes.model_faults import cuts, replies
from tests.fakes.model_gate import waits
from tests.fakes.model_wire import REFUSALS, died, role, text
from tests.fixtures.calls import (
    assert_refused,
    became,
    completed_run,
    ended,
    get,
    new_assistant,
    new_run,
    new_thread,
    post,
)
from tests.fixtures.rooms import Scripted

pytestmark = pytest.mark.anyio


async def failed_run(api: Any, *, stream: bool, **assistant_fields: Any) -> dict[str, Any]:
    """Carry out a run that must fail; return it. The thread must be free, the stream must have told the same."""
    assistant, thread = await new_assistant(api, **assistant_fields), await new_thread(api, "x")
    where = f"/v1/threads/{thread}"
    answer = await api.post(f"{where}/runs", json={"assistant_id": assistant, "stream": stream})
    run = await ended(api, (await get(api, f"{where}/runs"))["data"][0])
    assert run["status"] == "failed"
    assert run["failed_at"] >= run["started_at"] >= run["created_at"]
    assert (run["completed_at"], run["expires_at"], run["required_action"]) == (None, None, None)
    if stream:
        *_, last, done = parse(answer.content)
        assert (last.event, done.event) == ("thread.run.failed", "done")
        assert json.loads(last.data) == run
    await post(api, f"{where}/messages", {"role": "user", "content": "the thread is free"})
    return run


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["polled", "streamed"])


@STREAM
async def test_a_model_that_nobody_serves_is_named(rooms: Any, stream: bool) -> None:
    run = await failed_run(rooms, stream=stream, model="gpt-nine")
    assert run["model"] == "gpt-nine"
    assert run["last_error"]["code"] == "server_error"
    assert "gpt-nine" in run["last_error"]["message"]
    assert (await get(rooms, f"/v1/threads/{run['thread_id']}/runs/{run['id']}/steps"))["data"] == []


@pytest.mark.parametrize(
    ("refusal", "code", "words"),
    [
        ("prompt too long", "invalid_prompt", "maximum context length is 2048 tokens"),
        ("image to a text model", "invalid_prompt", "not a multimodal model"),
        ("no key or a wrong one", "server_error", "MODEL_API_KEY"),
        ("unknown path", "server_error", "404"),
    ],
)
async def test_the_model_servers_refusal_is_the_runs_error(
    scripted: Scripted, refusal: str, code: str, words: str
) -> None:
    scripted.model.script.extend([replies(*REFUSALS[refusal])] * 4)  # what may be a passing fault is asked again
    run = await failed_run(scripted.client, stream=False, model="tiny")
    assert run["last_error"]["code"] == code
    assert words in run["last_error"]["message"]


@STREAM
@pytest.mark.parametrize("fault", [cuts(role(), text("half a ")), None], ids=["cut off", "engine died"])
async def test_what_was_said_before_a_failure_is_kept(scripted: Scripted, fault: Any, stream: bool) -> None:
    async def dies(exchange: Any) -> None:
        await exchange.begin()
        await exchange.send(role() + text("half a "))
        await exchange.send(died())
        await exchange.end()

    scripted.model.script.append(fault or dies)
    api = scripted.client
    run = await failed_run(api, stream=stream, model="tiny")
    assert run["last_error"]["code"] == "server_error"
    where = f"/v1/threads/{run['thread_id']}"
    (message,) = (await get(api, f"{where}/messages", run_id=run["id"]))["data"]
    assert (message["status"], message["incomplete_details"]) == ("incomplete", {"reason": "run_failed"})
    assert message["content"][0]["text"]["value"] == "half a "
    (step,) = (await get(api, f"{where}/runs/{run['id']}/steps"))["data"]
    assert (step["status"], step["last_error"]) == ("failed", run["last_error"])


async def test_a_full_queue_is_429_with_the_time_to_come_back(narrow: Scripted) -> None:
    api, gate = narrow.client, asyncio.Event()
    narrow.model.script.extend([waits(gate, "x")] * 3)
    assistant = await new_assistant(api, model="tiny")
    runs = [await new_run(api, await new_thread(api, "x"), assistant) for _ in range(3)]
    await became(api, runs[0], "in_progress")
    thread = await new_thread(api, "x")
    for path, body in (
        (f"/v1/threads/{thread}/runs", {"assistant_id": assistant}),
        (f"/v1/threads/{thread}/runs", {"assistant_id": assistant, "stream": True}),
        ("/v1/threads/runs", {"assistant_id": assistant}),
    ):
        answer = await api.post(path, json=body)
        told = "Rate limit reached: too many runs are waiting for the model. Try again in a few seconds."
        assert_refused(answer, told, status=429, code="rate_limit_exceeded", kind="rate_limit_error")
        assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("5", "5000")
        assert answer.headers["content-type"] == "application/json"
    assert (await get(api, f"/v1/threads/{thread}/runs"))["data"] == []
    gate.set()
    for run in runs:
        assert (await ended(api, run))["status"] == "completed"
    await completed_run(api, thread, assistant)
