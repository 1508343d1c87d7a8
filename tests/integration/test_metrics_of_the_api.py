"""What Prometheus is told of requests and turns, by a real API; and that nobody else is told."""

import time
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.calls import completed_run, new_assistant, new_thread, post
from tests.fixtures.servers import MODEL

pytestmark = pytest.mark.anyio

OPEN = ("turns_open", "turns_waiting", "http_streams_active", "db_writes_waiting")
LET_GO_WITHIN_S = 10.0

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(api: Any) -> Samples:
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families: list[Metric] = list(text_string_to_metric_families(answer.text))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def open_in(told: Samples) -> dict[str, float]:
    return {name: told[f"sovereign_{name}", frozenset()] for name in OPEN}


def grown(before: Samples, after: Samples) -> dict[str, dict[frozenset[str], float]]:
    """Return by how much each series grew, by its name and the values of its labels."""
    found: dict[str, dict[frozenset[str], float]] = {}
    for (name, labels), value in after.items():
        if value != before.get((name, labels), 0):
            values = frozenset(value for _, value in labels)
            found.setdefault(name, {})[values] = value - before.get((name, labels), 0)
    return found


async def test_a_run_is_counted_and_timed_wherever_it_passes(api: Any) -> None:
    before = await scraped(api)
    thread = await new_thread(api, "hello")
    await completed_run(api, thread, await new_assistant(api, model=MODEL))
    found = grown(before, await scraped(api))
    route = "/v1/threads/{thread_id}/runs"
    assert found["sovereign_http_requests_total"][frozenset({"POST", route, "200"})] == 1
    assert found["sovereign_turns_total"] == {frozenset({"run", "completed"}): 1}
    assert found["sovereign_first_token_seconds_count"] == {frozenset({"run"}): 1}
    assert found["sovereign_turn_queue_wait_seconds_count"] == {frozenset(): 1}
    assert found["sovereign_upstream_calls_total"] == {frozenset({"main"}): 1}
    assert {labels for labels in found["sovereign_tokens_total"] if MODEL in labels and "out" in labels}
    assert found["sovereign_db_transactions_total"][frozenset({"write", "committed"})] >= 3
    assert found["sovereign_db_commit_seconds_count"][frozenset()] >= 3


async def test_nothing_is_left_open_once_all_is_answered(api: Any) -> None:
    before = open_in(await scraped(api))  # a server of another test in this process may have died with its runs
    thread = await new_thread(api, "hello")
    await completed_run(api, thread, await new_assistant(api, model=MODEL))
    deadline = time.monotonic() + LET_GO_WITHIN_S
    told = await scraped(api)
    while open_in(told) != before:
        assert time.monotonic() < deadline, open_in(told)
        told = await scraped(api)
    assert told["sovereign_http_requests_in_flight", frozenset()] == 1, "the scrape itself"


async def test_what_a_client_calls_things_is_in_no_label(api: Any) -> None:
    await api.get("/v1/threads/thread_of_nobody")
    await api.get("/v1/secret-word")
    await api.request("GET", "/v1/models/secret-word")
    await post(api, "/v1/assistants", {"model": "secret-word"})
    text = (await api.get("/metrics")).text
    assert "secret-word" not in text
    assert "thread_of_nobody" not in text
    assert 'route="unmatched"' in text


async def test_a_refused_key_is_counted_by_its_reason(api: Any) -> None:
    before = await scraped(api)
    assert (await api.get("/v1/models", headers={"Authorization": "Bearer sk-nobody"})).status_code == 401
    assert (await api.get("/v1/models", headers={"Authorization": ""})).status_code == 401
    found = grown(before, await scraped(api))
    assert found["sovereign_auth_failures_total"] == {frozenset({"unknown"}): 1, frozenset({"missing"}): 1}


async def test_metrics_are_for_administrators_alone(api: Any) -> None:
    project = (await post(api, "/admin/projects", {"name": "desk"}))["id"]
    key = (await post(api, "/admin/keys", {"name": "desk", "project_id": project}))["key"]
    assert (await api.get("/metrics", headers={"Authorization": f"Bearer {key}"})).status_code == 403
    assert (await api.get("/metrics", headers={"Authorization": ""})).status_code == 401
    assert (await api.get("/metrics/", headers={"Authorization": f"Bearer {key}"})).status_code == 403
    assert (await api.post("/metrics")).status_code == 404
