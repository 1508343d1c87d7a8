"""Somebody goes away while words are coming: the client, or the server when it is told to stop."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.conformance.sse import ServerEvent
from tests.e2e.streaming import client_of, delta_text, new_assistant, new_thread, timed
from tests.fixtures.forks import Fork
from tests.fixtures.processes import ROOT, api_process
from tests.fixtures.servers import API_KEY

WORDS = 30
ASK = f"repeat {WORDS} words"
ENDED_WITHIN_S = 10
STOPPED_WITHIN_S = 30
GRACE_S = 1
DELTA = "thread.message.delta"


def test_a_run_whose_client_was_killed_is_finished_and_its_message_is_whole(paced_api: str) -> None:
    with client_of(paced_api) as api:
        assistant_id, thread_id = new_assistant(api), new_thread(api, ASK)
        kill_at_the_first_word(paced_api, thread_id, assistant_id)
        assert the_run(api, thread_id)["status"] == "in_progress"
        run = ended_run(api, thread_id)
        message = newest_message(api, thread_id)
    assert run["status"] == "completed"
    assert (message["status"], message["run_id"]) == ("completed", run["id"])
    assert len(message["content"][0]["text"]["value"].split()) == WORDS
    assert run["usage"]["completion_tokens"] == WORDS


def kill_at_the_first_word(url: str, thread_id: str, assistant_id: str) -> None:
    command = [sys.executable, "-m", "tests.e2e.programs.reading_program", thread_id, assistant_id]
    env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": API_KEY}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline().strip()
        reader.kill()
    assert reader.returncode == -signal.SIGKILL


def the_run(api: httpx2.Client, thread_id: str) -> dict[str, Any]:
    """Return the thread's only run."""
    [run] = api.get(f"/threads/{thread_id}/runs").json()["data"]
    return dict(run)


def ended_run(api: httpx2.Client, thread_id: str) -> dict[str, Any]:
    """Wait for the end of the thread's only run."""
    deadline = time.monotonic() + ENDED_WITHIN_S
    while (run := the_run(api, thread_id))["status"] in ("queued", "in_progress"):
        assert time.monotonic() < deadline, run["status"]
        time.sleep(0.05)
    return run


def newest_message(api: httpx2.Client, thread_id: str) -> dict[str, Any]:
    """Return the thread's newest message."""
    return dict(api.get(f"/threads/{thread_id}/messages", params={"limit": 1}).json()["data"][0])


@contextmanager
def own_api(folder: Path, model_url: str, **env: str) -> Iterator[tuple[str, Fork]]:
    """Run an API of the test's own, to be stopped by it."""
    env |= {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db", "MODEL_URL": model_url}
    with api_process(folder / "log", env) as running:
        yield running


def test_a_server_told_to_stop_lets_an_open_stream_end(paced_model_url: str, tmp_path: Path) -> None:
    with own_api(tmp_path, paced_model_url) as (url, process):
        events, words = stream_and_stop(url, process, ASK)
        assert words == WORDS
        assert [event.event for event in events[-2:]] == ["thread.run.completed", "done"]
        assert process.wait(STOPPED_WITHIN_S) == 0


def test_a_run_that_outlasts_the_grace_is_carried_out_by_the_next_server(paced_model_url: str, tmp_path: Path) -> None:
    with own_api(tmp_path, paced_model_url, SHUTDOWN_GRACE_S=str(GRACE_S)) as (url, process):
        began = time.monotonic()
        events, words = stream_and_stop(url, process, "repeat 150 words")
        assert process.wait(STOPPED_WITHIN_S) == 0
        assert GRACE_S <= time.monotonic() - began <= GRACE_S + ENDED_WITHIN_S
    assert 0 < words < 150
    assert [event.event for event in events[-3:]] == ["thread.run.queued", "error", "done"]
    assert "the server is stopping" in json.loads(events[-2].data)["error"]["message"]
    assert "Traceback" not in (tmp_path / "log").read_text()
    thread_id = json.loads(events[-3].data)["thread_id"]
    with own_api(tmp_path, paced_model_url) as (url, _), client_of(url) as api:
        assert ended_run(api, thread_id)["status"] == "completed"
        messages = api.get(f"/threads/{thread_id}/messages", params={"order": "asc"}).json()["data"]
    assert [(message["role"], message["status"]) for message in messages] == [
        ("user", "completed"),
        ("assistant", "completed"),
    ]
    assert len(messages[1]["content"][0]["text"]["value"].split()) == 150


def stream_and_stop(url: str, process: Fork, text: str) -> tuple[list[ServerEvent], int]:
    """Stream an answer and tell the server to stop at its first word; return the events, and the number of words."""
    events, words = [], 0
    with client_of(url) as api:
        assistant_id, thread_id = new_assistant(api), new_thread(api, text)
        for event, _, _ in timed(api, f"/threads/{thread_id}/runs", {"assistant_id": assistant_id}):
            events.append(event)
            if event.event == DELTA:
                words += len(delta_text(event).split())
                if words == 1:
                    process.terminate()
    return events, words
