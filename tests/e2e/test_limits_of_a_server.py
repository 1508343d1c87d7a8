"""Limits of the whole server: runs reserve and settle, streams are counted, usage outlasts a kill -9."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.fixtures.processes import api_process, stand_in
from tests.fixtures.servers import API_KEY, MODEL


@pytest.fixture
def served(stand_in_url: str, tmp_path: Path) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Give the URL of an API whose keys may make ten requests a minute by default, its process and environment."""
    env = {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db",
        "MODEL_URL": stand_in_url,
        "RATE_LIMIT_REQUESTS_PER_MIN": "10",
    }
    with api_process(tmp_path / "log", env) as (url, process):
        yield url, process, env


def key_with(url: str, **limits: int) -> str:
    """Make a key with limits; return its text."""
    body = {"name": "limited", "project_id": "proj_default", "limits": limits}
    answer = httpx2.post(url.replace("/v1", "/admin/keys"), json=body, headers={"Authorization": f"Bearer {API_KEY}"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["key"])


def usage_of(url: str, key: str) -> dict[str, Any]:
    answer = httpx2.get(f"{url}/usage", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def run_once(client: openai.OpenAI, **fields: Any) -> Any:
    assistant = client.beta.assistants.create(model=MODEL)
    return client.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "hello"}]}, **fields
    )


def test_of_64_callers_at_once_ten_pass(served: tuple[str, Any, dict[str, str]]) -> None:
    url, _, _ = served
    with (
        httpx2.Client(
            headers={"Authorization": f"Bearer {API_KEY}"}, limits=httpx2.Limits(max_connections=64)
        ) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        statuses = sorted(pool.map(lambda _: client.get(f"{url}/assistants").status_code, range(64)))
    assert statuses == [200] * 10 + [429] * 54


def test_a_runs_tokens_are_settled_from_its_usage_and_outlast_a_kill(
    served: tuple[str, Any, dict[str, str]], tmp_path: Path
) -> None:
    url, process, env = served
    key = key_with(url, tokens_per_day=100_000, concurrent_runs=1)
    with openai.OpenAI(base_url=url, api_key=key) as client:
        run = run_once(client)
    assert run.status == "completed"
    wait_for_a_stored_run(tmp_path / "sovereign_assistant.db")
    process.kill()
    process.wait(10)
    with api_process(tmp_path / "log", env) as (again, _):
        usage = usage_of(again, key)
    assert usage["today"]["runs"] == 1
    assert usage["today"]["total_tokens"] == run.usage.total_tokens
    assert usage["key"]["remaining"]["tokens_per_day"] == 100_000 - run.usage.total_tokens
    assert usage["key"]["remaining"]["concurrent_runs"] == 1


def wait_for_a_stored_run(file: Path) -> None:
    """Wait until the server has stored, by itself, that a run has ended."""
    deadline = time.monotonic() + 10
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        while not reader.execute("SELECT 1 FROM usage WHERE runs > 0").fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_stream_that_is_one_too_many_starts_no_run(tmp_path: Path) -> None:
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/slow.db", "RATE_LIMIT_CONCURRENT_STREAMS": "1"}
    with (
        stand_in(tmp_path / "standin", "--model", MODEL, "--token-ms", "500") as slow,
        api_process(tmp_path / "log", env | {"MODEL_URL": slow, "SHUTDOWN_GRACE_S": "0.1"}) as (url, _),
        openai.OpenAI(base_url=url, api_key=API_KEY, max_retries=0) as client,
    ):
        assistant = client.beta.assistants.create(model=MODEL)
        threads = [client.beta.threads.create(messages=[{"role": "user", "content": "hello"}]) for _ in range(2)]
        client.beta.threads.runs.create(threads[0].id, assistant_id=assistant.id, stream=True)
        with pytest.raises(openai.RateLimitError) as error:
            client.beta.threads.runs.create(threads[1].id, assistant_id=assistant.id, stream=True)
        assert "concurrent streams" in error.value.message
        assert client.beta.threads.runs.list(threads[1].id).data == []


def test_a_run_beyond_the_quota_is_refused_at_once_and_leaves_nothing(served: tuple[str, Any, dict[str, str]]) -> None:
    url, _, _ = served
    key = key_with(url, tokens_per_day=10)
    with openai.OpenAI(base_url=url, api_key=key) as client, pytest.raises(openai.RateLimitError) as error:
        run_once(client)
    assert error.value.code == "insufficient_quota"
    today = usage_of(url, key)["today"]
    assert (today["refused"], today["runs"]) == (1, 0)
