"""What runs use of a key's limits: reserved when they are accepted, settled when they end, whatever ends them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.checker import Checker
from tests.fakes.model_faults import cuts, stalls
from tests.fakes.model_wire import role, text
from tests.fixtures.calls import became, completed_run, ended, get, new_assistant, new_run, new_thread, post
from tests.fixtures.rooms import Scripted, Served, served
from tests.fixtures.tools import path_of, submit, waiting_run

pytestmark = pytest.mark.anyio

PRICE = {
    "type": "function",
    "function": {"name": "get_price", "parameters": {"type": "object", "properties": {"symbol": {"type": "string"}}}},
}


@pytest.fixture
async def on(conformance: Checker, stand_in_url: str, database_url: str) -> AsyncIterator[Served]:
    """Give an API with a store of its own, over each engine."""
    async with served(conformance, DATABASE_URL=database_url, MODEL_URL=stand_in_url) as served_api:
        yield served_api


async def desk(api: Any, **limits: int) -> dict[str, str]:
    """Make a key with limits; return the headers of its requests."""
    made = await post(api, "/admin/keys", {"name": "desk", "limits": limits})
    return {"Authorization": f"Bearer {made['key']}"}


async def today(api: Any, key: dict[str, str]) -> dict[str, Any]:
    """Return what a key has used today."""
    answer = await api.get("/v1/usage", headers=key)
    figures: dict[str, Any] = answer.json()["today"]
    return figures


async def test_a_run_is_charged_what_the_model_server_reported(on: Served) -> None:
    key = await desk(on.client, tokens_per_day=100_000)
    on.client.headers.update(key)
    run = await completed_run(on.client, await new_thread(on.client, "hello"), await new_assistant(on.client))
    used = await today(on.client, key)
    assert (used["prompt_tokens"], used["completion_tokens"], used["runs"]) == (
        run["usage"]["prompt_tokens"],
        run["usage"]["completion_tokens"],
        1,
    )


async def test_a_run_that_calls_tools_is_charged_for_each_call_and_counts_once(on: Served) -> None:
    key = await desk(on.client, concurrent_runs=1, tokens_per_day=100_000)
    api = on.client
    api.headers.update(key)
    assistant, thread = await new_assistant(api, tools=[PRICE]), await new_thread(api, "get_price of ACME")
    waiting = await waiting_run(api, thread, assistant)
    half = await today(api, key)
    assert (half["prompt_tokens"] > 0, half["runs"]) == (True, 0)
    other = await completed_run(api, await new_thread(api, "hello"), await new_assistant(api))
    assert (await submit(api, waiting, "7")).status_code == 200
    run = await ended(api, waiting)
    used = await today(api, key)
    assert used["runs"] == 2
    assert used["prompt_tokens"] == run["usage"]["prompt_tokens"] + other["usage"]["prompt_tokens"]
    assert used["completion_tokens"] == run["usage"]["completion_tokens"] + other["usage"]["completion_tokens"]


async def test_a_run_over_the_days_tokens_is_refused_and_leaves_nothing(on: Served) -> None:
    api, key = on.client, await desk(on.client, tokens_per_day=400)
    api.headers.update(key)
    assistant, thread = await new_assistant(api), await new_thread(api, "word " * 800)
    refused = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert int(refused.headers["retry-after"]) <= 60
    assert (await get(api, f"/v1/threads/{thread}/runs"))["data"] == []
    short = await new_thread(api, "hello")
    await completed_run(api, short, assistant)


async def test_instructions_and_tools_are_reserved_too_and_messages_that_are_not_shown_are_not(on: Served) -> None:
    api = on.client
    api.headers.update(await desk(api, tokens_per_day=2_000))
    thread, long = await new_thread(api, *["words " * 1_000] * 4, "hello"), "be brief " * 1_000
    talkative, plain = await new_assistant(api, instructions=long), await new_assistant(api)
    newest = {"truncation_strategy": {"type": "last_messages", "last_messages": 1}}
    for body in (
        {"assistant_id": talkative, **newest},
        {"assistant_id": plain, "instructions": long, **newest},
        {"assistant_id": plain, "additional_instructions": long, **newest},
        {"assistant_id": plain},
    ):
        refused = await api.post(f"/v1/threads/{thread}/runs", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    accepted = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": plain, **newest})
    assert accepted.status_code == 200


async def test_an_unknown_thread_is_unknown_also_to_a_key_whose_tokens_are_counted(on: Served) -> None:
    api, key = on.client, await desk(on.client, tokens_per_day=10)
    api.headers.update(key)
    thread = "thread_000000000000000000000000"
    answer = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": await new_assistant(api)})
    assert answer.status_code == 404


async def test_no_more_runs_at_once_than_a_key_may_have(scripted: Scripted) -> None:
    api = scripted.client
    bootstrap = api.headers["Authorization"]
    key = await desk(api, concurrent_runs=1)
    try:
        api.headers.update(key)
        assistant = await new_assistant(api, model="tiny")
        scripted.model.script.append(stalls(role(), text("half")))
        first = await became(api, await new_run(api, await new_thread(api, "x"), assistant), "in_progress")
        thread = await new_thread(api, "y")
        refused = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        await post(api, f"{path_of(first)}/cancel", {})
        await ended(api, first)
        await completed_run(api, thread, assistant)
    finally:
        api.headers["Authorization"] = bootstrap


async def test_an_answer_that_was_cut_short_is_charged_by_what_was_said(scripted: Scripted) -> None:
    api = scripted.client
    bootstrap = api.headers["Authorization"]
    key = await desk(api, tokens_per_day=100_000)
    try:
        api.headers.update(key)
        assistant = await new_assistant(api, model="tiny")
        scripted.model.script.append(cuts(role(), text("x" * 400)))
        run = await ended(api, await new_run(api, await new_thread(api, "y" * 800), assistant))
        assert (run["status"], run["usage"]["completion_tokens"]) == ("failed", 0)
        used = await today(api, key)
        assert (used["prompt_tokens"], used["completion_tokens"]) == (200, 100)
    finally:
        api.headers["Authorization"] = bootstrap


async def test_a_key_for_some_models_starts_no_run_with_another(on: Served) -> None:
    api = on.client
    made = await post(api, "/admin/keys", {"name": "narrow", "models": ["gpt-4o"]})
    api.headers["Authorization"] = f"Bearer {made['key']}"
    assistant, thread = await new_assistant(api), await new_thread(api, "hello")
    refused = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_found")
    assert (await get(api, f"/v1/threads/{thread}/runs"))["data"] == []
    allowed = await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "model": "gpt-4o"})
    assert allowed.status_code == 200
