"""Streamed text reaches the client as the model says it, next to the same answer straight from the model server."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.conformance.sse import SseParser
from tests.e2e.conftest import TOKEN_MS
from tests.e2e.streaming import chat_arrivals, client_of, delta_text, new_assistant, new_thread, run_arrivals
from tests.fixtures.processes import api_process, stand_in
from tests.fixtures.servers import API_KEY, MODEL

ROUNDS = 7
WORDS = 8
ASK = f"repeat {WORDS} words"
# What is measured is about 3 ms; the bound leaves room for a machine that does other things too.
ADDED_WITHIN_MS = 25

# About 5.8 MB of events: more than the 4 MB that the kernel may hold for a reader, so that the server must wait too.
MANY_WORDS = 32_000
SMALL_BUFFER_BYTES = 4096


@pytest.fixture
def talkative_api(tmp_path: Path) -> Iterator[str]:
    """Give the URL, ending in /v1, of an API over a model that says MANY_WORDS at once."""
    options = ("--model", MODEL, "--token-ms", "0", "--max-model-len", str(2 * MANY_WORDS))
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db"}
    with (
        stand_in(tmp_path / "standin.log", *options) as model_url,
        api_process(tmp_path / "api.log", env | {"MODEL_URL": model_url}) as (url, _),
    ):
        yield url


def test_the_first_delta_comes_within_a_few_milliseconds_of_the_models_first_chunk(
    paced_api: str, paced_model_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with client_of(paced_api) as api, client_of(paced_model_url) as model:
        assistant_id = new_assistant(api)
        direct, ours = [], []
        for _ in range(ROUNDS):
            direct.append(chat_arrivals(model, ASK)[0].at_s * 1000)
            ours.append(run_arrivals(api, assistant_id, new_thread(api, ASK))[0].at_s * 1000)
    added = median(ours) - median(direct)
    with capsys.disabled():
        print(f"\nfirst text: {median(direct):.1f} ms from the model server, {added:.1f} ms more through the API")
    assert added <= ADDED_WITHIN_MS


def test_each_delta_comes_by_itself_at_the_models_pace(paced_api: str) -> None:
    with client_of(paced_api) as api:
        arrivals = run_arrivals(api, new_assistant(api), new_thread(api, ASK))
    assert len(arrivals) == WORDS
    # Two may share a read when this machine looks away for a moment; a buffer would put all of them into one.
    assert len({arrival.read for arrival in arrivals}) >= WORDS - 2
    assert arrivals[-1].at_s - arrivals[0].at_s >= (WORDS - 2) * TOKEN_MS / 1000
    gaps_ms = [(after.at_s - before.at_s) * 1000 for before, after in pairwise(arrivals)]
    assert median(gaps_ms) <= TOKEN_MS * 2


def test_a_reader_that_stops_reading_slows_no_other_and_misses_nothing(talkative_api: str) -> None:
    with client_of(talkative_api) as api:
        assistant_id = new_assistant(api)
        alone_s = quick_run_s(api, assistant_id)
        thread_id = new_thread(api, f"repeat {MANY_WORDS} words")
        stalled = stream_without_reading(talkative_api, thread_id, assistant_id)
        said = wait_for_answer(api, thread_id)
        beside_s = quick_run_s(api, assistant_id)
        answer = stalled.getresponse()
        assert answer.status == 200
        parser = SseParser()
        events = [event for data in iter(partial(answer.read1, 4096), b"") for event in parser.feed(data)]
        stalled.close()
    assert beside_s <= 2 * alone_s + 0.1
    assert len(said.split()) == MANY_WORDS
    assert "".join(delta_text(event) for event in events if event.event == "thread.message.delta") == said
    assert [event.event for event in events[-2:]] == ["thread.run.completed", "done"]


def quick_run_s(api: httpx2.Client, assistant_id: str) -> float:
    """Return the usual time from a run's request to the last of its text."""
    return median(run_arrivals(api, assistant_id, new_thread(api, ASK))[-1].at_s for _ in range(5))


def stream_without_reading(url: str, thread_id: str, assistant_id: str) -> http.client.HTTPConnection:
    """Ask for a stream over a connection that holds little, and read none of it."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    connection.sock.settimeout(30)
    connection.sock.connect((address.hostname, address.port))
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    body = json.dumps({"assistant_id": assistant_id, "stream": True})
    connection.request("POST", f"{address.path}/threads/{thread_id}/runs", body, headers)
    return connection


def wait_for_answer(api: httpx2.Client, thread_id: str) -> str:
    """Wait for the end of a thread's run; return what it said."""
    while True:
        runs = api.get(f"/threads/{thread_id}/runs").json()["data"]
        if runs and runs[0]["status"] not in ("queued", "in_progress"):
            break
        time.sleep(0.02)
    assert runs[0]["status"] == "completed"
    message = api.get(f"/threads/{thread_id}/messages", params={"limit": 1}).json()["data"][0]
    return str(message["content"][0]["text"]["value"])
