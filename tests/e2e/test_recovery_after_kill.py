"""The API is killed outright with runs in every active state, and started again on the same file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.streaming import client_of
from tests.fakes.model_tools import function
from tests.fixtures.forks import Fork
from tests.fixtures.processes import api_process
from tests.fixtures.servers import API_KEY, MODEL

SETTLED_WITHIN_S = 30
WORDS = 60
PRICE = function("get_price")


@contextmanager
def served(folder: Path, model_url: str) -> Iterator[tuple[httpx2.Client, Fork]]:
    """Run an API with one slot over this test's file; yield a client and the process."""
    env = {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db",
        "MODEL_URL": model_url,
        "RUN_CONCURRENCY": "1",
        "RUN_FLUSH_MS": "20",
    }
    with api_process(folder / "log", env) as (url, process), client_of(url) as client:
        yield client, process


def post(api: httpx2.Client, path: str, body: Any = None) -> dict[str, Any]:
    answer = api.post(path, json=body or {})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def start(api: httpx2.Client, assistant: str, text: str) -> dict[str, Any]:
    thread = {"messages": [{"role": "user", "content": text}]}
    return post(api, "/threads/runs", {"assistant_id": assistant, "thread": thread})


def path_of(run: dict[str, Any]) -> str:
    return f"/threads/{run['thread_id']}/runs/{run['id']}"


def became(api: httpx2.Client, run: dict[str, Any], status: str) -> dict[str, Any]:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while (found := api.get(path_of(run)).json())["status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return dict(found)


def said_by(api: httpx2.Client, run: dict[str, Any]) -> list[tuple[str, str]]:
    """Return status and text of what a run said."""
    page = api.get(f"/threads/{run['thread_id']}/messages", params={"run_id": run["id"]}).json()
    return [(message["status"], message["content"][0]["text"]["value"]) for message in page["data"]]


def test_every_run_goes_on_after_the_api_was_killed(slow_model_url: str, paced_model_url: str, tmp_path: Path) -> None:
    with served(tmp_path, slow_model_url) as (api, process):
        assistant = post(api, "/assistants", {"model": MODEL, "tools": [PRICE]})["id"]
        waiting = became(api, start(api, assistant, "get_price of ACME"), "requires_action")
        running = start(api, assistant, f"repeat {WORDS} words")
        queued = start(api, assistant, "say exactly: at last")
        events = f"{path_of(running)}/events"
        with api.stream("GET", events) as stream:
            for line in stream.iter_lines():  # live: the run is in the middle of its answer
                if line == "event: thread.message.delta":
                    break
        assert api.get(path_of(queued)).json()["status"] == "queued"
        time.sleep(0.1)  # so that some of the text is on disk
        process.kill()
        process.wait()
    with served(tmp_path, paced_model_url) as (api, _):
        assert api.get(path_of(waiting)).json() == waiting
        became(api, running, "in_progress")
        (call,) = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": "101.25"}]}
        assert post(api, f"{path_of(waiting)}/submit_tool_outputs", outputs)["status"] == "queued"
        for run in (running, queued, waiting):
            became(api, run, "completed")
            post(api, f"/threads/{run['thread_id']}/messages", {"role": "user", "content": "the thread is free"})
        ((status, text),) = said_by(api, running)
        assert (status, len(text.split())) == ("completed", WORDS)
        assert said_by(api, queued) == [("completed", "at last")]
        answered = '[stand-in] The tools answered: get_price returned "101.25".'
        assert said_by(api, waiting) == [("completed", answered)]
        told = api.get(events).text
        assert told.count("event: thread.message.completed\n") == told.count("event: thread.run.completed\n") == 1
