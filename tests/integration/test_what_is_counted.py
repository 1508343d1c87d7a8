"""What happens in a server is counted where it happens, once: streams, rounds of tools, shortened prompts, limits met,
turns taken up, works of a commit.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.runs.lease import LeaseTimes
from tests.fakes import model_wire as wire
from tests.fakes.model_gate import waits
from tests.fakes.model_server import Behaviour, Exchange, model_server
from tests.fakes.model_tools import calling, calls, function
from tests.fakes.model_wire import MODEL
from tests.fixtures.calls import assert_refused, completed_run, ended, new_assistant, new_run, new_thread, post
from tests.fixtures.counted import counted
from tests.fixtures.rooms import Scripted, served
from tests.fixtures.tools import path_of, submit, waiting_run

pytestmark = pytest.mark.anyio

RUN = {"surface": "run"}


def says_then_waits(gate: asyncio.Event, first: str, second: str) -> Behaviour:
    """Answer in two parts, the second once the gate is open."""

    async def behave(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(wire.role() + wire.text(first))
        await gate.wait()
        await exchange.send(wire.text(second))
        await exchange.send(wire.finish() + wire.usage(2) + wire.DONE)
        await exchange.end()

    return behave


@contextmanager
def grows(name: str, by: float = 1, **labels: str) -> Iterator[None]:
    """Hold a block to what it adds to a series."""
    before = counted(name, **labels)
    yield
    assert counted(name, **labels) - before == by, name


async def test_a_stream_is_counted_while_it_is_open_and_timed_apart_from_other_answers(scripted: Scripted) -> None:
    gate = asyncio.Event()
    scripted.model.script.append(waits(gate, "one"))
    assistant = await new_assistant(scripted.client, model=MODEL)
    body = {"assistant_id": assistant, "stream": True}
    route = {"route": "/v1/threads/runs", "stream": "yes"}
    with grows("http_request_duration_seconds_count", **route), grows("turn_duration_seconds_count", **RUN):
        asking = asyncio.create_task(scripted.client.post("/v1/threads/runs", json=body))
        async with asyncio.timeout(5):
            while not (counted("http_streams_active") and counted("upstream_in_flight", upstream="main")):
                await asyncio.sleep(0.005)
        gate.set()
        await asking
    assert counted("http_streams_active") == counted("upstream_in_flight", upstream="main") == 0


async def test_the_pieces_of_an_answer_after_the_first_are_timed_as_they_are_told(scripted: Scripted) -> None:
    gate = asyncio.Event()
    scripted.model.script.append(says_then_waits(gate, "one", "two"))
    assistant = await new_assistant(scripted.client, model=MODEL)
    began = counted("first_token_seconds_count", **RUN)
    with grows("first_token_seconds_count", **RUN), grows("between_tokens_seconds_count", **RUN):
        run = await new_run(scripted.client, await new_thread(scripted.client, "x"), assistant)
        async with asyncio.timeout(5):
            while counted("first_token_seconds_count", **RUN) == began:
                await asyncio.sleep(0.005)
        gate.set()
        await ended(scripted.client, run)


async def test_an_answer_that_calls_tools_is_a_round(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(calls(calling("look_up", "{}")))
    assistant = await new_assistant(api, model=MODEL, tools=[function("look_up")])
    with grows("tool_rounds_total", **RUN), grows("turns_total", surface="run", outcome="completed"):
        run = await waiting_run(api, await new_thread(api, "x"), assistant)
        assert (await submit(api, run, "found")).status_code == 200
        await ended(api, run)


async def test_a_run_that_ends_while_it_waits_for_its_client_is_counted_and_logged_once(
    conformance: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with model_server() as model:
        model.script += [calls(calling("look_up", "{}"))] * 2
        env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "MODEL_URL": model.url}
        async with served(conformance, RUN_EXPIRES_AFTER_S="1", **env) as on:
            assistant = await new_assistant(on.client, model=MODEL, tools=[function("look_up")])
            runs = [await waiting_run(on.client, await new_thread(on.client, "x"), assistant) for _ in range(2)]
            with caplog.at_level(logging.INFO, "app.turns"), grows("turns_total", surface="run", outcome="cancelled"):
                assert (await on.client.post(f"{path_of(runs[0])}/cancel")).status_code == 200
            with caplog.at_level(logging.INFO, "app.turns"), grows("turns_total", surface="run", outcome="expired"):
                assert (await ended(on.client, runs[1]))["status"] == "expired"
    lines = [vars(record) for record in caplog.records if record.name == "app.turns" and hasattr(record, "run_id")]
    assert [(line["run_id"], line["status"], line["levelname"]) for line in lines] == [
        (runs[0]["id"], "cancelled", "INFO"),
        (runs[1]["id"], "expired", "WARNING"),
    ]


async def test_a_prompt_from_which_older_messages_are_left_out_is_counted(
    conformance: Any, tmp_path: Path, stand_in_url: str
) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "MODEL_URL": stand_in_url}
    async with served(conformance, CONTEXT_WINDOW="256", **env) as on:
        assistant = await new_assistant(on.client)
        for texts, left_out in ((["short"], 0), (["gold " * 60] * 8, 1)):
            with grows("context_truncations_total", by=left_out):
                await completed_run(on.client, await new_thread(on.client, *texts), assistant)


async def test_what_a_limit_refuses_is_counted_by_its_bound(conformance: Any, tmp_path: Path) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "RATE_LIMIT_REQUESTS_PER_MIN": "1"}
    async with served(conformance, **env) as on:
        project = await post(on.client, "/admin/projects", {"name": "desk"})
        key = (await post(on.client, "/admin/keys", {"name": "desk", "project_id": project["id"]}))["key"]
        headers = {"Authorization": f"Bearer {key}"}
        with grows("limit_refusals_total", bound="requests per min (RPM)"):
            statuses = [(await on.client.get("/v1/threads", headers=headers)).status_code for _ in range(2)]
        assert statuses == [200, 429]


async def test_a_turn_that_a_stopped_server_left_is_counted_when_it_is_taken_up(
    conformance: Any, tmp_path: Path
) -> None:
    async with model_server() as model:
        env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "MODEL_URL": model.url}
        model.script.append(waits(asyncio.Event(), "never"))
        async with served(conformance, lease=LeaseTimes(lease_s=0, look_s=3600), SHUTDOWN_GRACE_S="0.05", **env) as on:
            assistant = await new_assistant(on.client, model=MODEL)
            run = await new_run(on.client, await new_thread(on.client, "x"), assistant)
            while not model.requests:
                await asyncio.sleep(0.005)
        with grows("turn_recoveries_total"):
            async with served(conformance, **env) as on:
                assert (await ended(on.client, run))["status"] == "completed"


async def test_writes_that_come_together_share_a_commit_and_are_counted_as_one(scripted: Scripted) -> None:
    before = counted("db_batch_works_sum") - counted("db_batch_works_count")
    await asyncio.gather(*(new_thread(scripted.client, "x") for _ in range(20)))
    assert counted("db_batch_works_sum") - counted("db_batch_works_count") > before


async def test_a_refused_request_is_counted_by_its_status(scripted: Scripted) -> None:
    with grows("http_requests_total", method="GET", route="/v1/threads/{thread_id}", status="404"):
        answer = await scripted.client.get("/v1/threads/thread_none")
        assert_refused(answer, "No thread found with id 'thread_none'.", status=404)
