"""The API is killed outright while clients write to it, and started again on the same file."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.beta.threads import Text

from tests.conformance.checker import Checker
from tests.conformance.transport import checked_async_http_client
from tests.e2e.streaming import client_of, new_assistant, new_thread
from tests.fixtures.forks import Fork
from tests.fixtures.processes import api_process
from tests.fixtures.servers import API_KEY

CLIENTS = 20
THREADS = 4
KILL_AFTER_ACKNOWLEDGED = 300
ANSWERED_WITHIN_S = 30
ENDS = ("completed", "failed", "incomplete", "expired", "cancelled")
LONG = "repeat 200 words"


@contextmanager
def served(folder: Path, model_url: str) -> Iterator[tuple[str, Fork]]:
    """Run an API over this test's file."""
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db", "MODEL_URL": model_url}
    with api_process(folder / "log", env) as running:
        yield running


class Told(openai.AsyncAssistantEventHandler):
    """Notes which of the callbacks that matter here were called."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.calls: list[str] = []

    async def on_text_created(self, text: Text) -> None:
        """The model speaks."""
        self.begun.set()

    async def on_exception(self, exception: Exception) -> None:
        """The stream broke."""
        self.calls.append("on_exception")

    async def on_end(self) -> None:
        """The stream is over."""
        self.calls.append("on_end")


def test_what_was_acknowledged_is_there_once_and_a_run_that_was_cut_off_answers_once(
    slow_model_url: str, stand_in_url: str, tmp_path: Path, conformance: Checker
) -> None:
    with served(tmp_path, slow_model_url) as (url, process):
        with client_of(url) as api:
            assistant_id, run_thread = new_assistant(api), new_thread(api, LONG)
            threads = [new_thread(api, "the first") for _ in range(THREADS)]
        session = Session(url, process, conformance)
        asyncio.run(session.until_killed(run_thread, assistant_id, threads))
    assert session.told.calls == ["on_exception", "on_end"]
    with served(tmp_path, stand_in_url) as (url, _):
        restarted = time.monotonic()
        with client_of(url) as api:
            run = ended_run(api, run_thread, restarted + ANSWERED_WITHIN_S)
            message = {"role": "user", "content": "and now?"}
            assert api.post(f"/threads/{run_thread}/messages", json=message).status_code == 200
            answers = [said for said in texts_of(api, run_thread) if said not in (LONG, "and now?")]
            stored = Counter(text for thread_id in threads for text in texts_of(api, thread_id))
    assert run["status"] == "completed"
    assert [len(answer.split()) for answer in answers] == [200]
    assert len(session.acknowledged) >= KILL_AFTER_ACKNOWLEDGED
    assert [text for text in session.acknowledged if stored[text] != 1] == []
    # Clients were cut off in the middle of a request: what they were not told of may be there, but not twice.
    assert stored.pop("the first") == THREADS
    assert set(stored.values()) == {1}


class Session:
    """The clients of one server, until it is killed."""

    def __init__(self, url: str, process: Fork, checker: Checker) -> None:
        self.told = Told()
        self.acknowledged: list[str] = []
        self._process = process
        self._options: Any = {"base_url": url, "api_key": API_KEY, "max_retries": 0}
        self._checker = checker

    async def until_killed(self, run_thread: str, assistant_id: str, threads: list[str]) -> None:
        """Stream a long answer and write beside it, from many clients at once."""
        http = checked_async_http_client(self._checker)
        async with openai.AsyncOpenAI(**self._options, http_client=http) as client:
            reader = asyncio.create_task(self._read(client, run_thread, assistant_id))
            await self.told.begun.wait()
            await asyncio.gather(reader, *(self._write(client, name, threads) for name in range(CLIENTS)))

    async def _read(self, client: openai.AsyncOpenAI, thread_id: str, assistant_id: str) -> None:
        runs = client.beta.threads.runs
        with pytest.raises(httpx2.TransportError):
            async with runs.stream(thread_id=thread_id, assistant_id=assistant_id, event_handler=self.told) as stream:
                await stream.until_done()

    async def _write(self, client: openai.AsyncOpenAI, name: int, threads: list[str]) -> None:
        number = 0
        with pytest.raises(openai.APIConnectionError):
            while True:
                text, number = f"client {name} message {number}", number + 1
                await client.beta.threads.messages.create(threads[number % THREADS], role="user", content=text)
                self.acknowledged.append(text)
                if len(self.acknowledged) == KILL_AFTER_ACKNOWLEDGED:
                    self._process.kill()


def ended_run(api: httpx2.Client, thread_id: str, deadline: float) -> dict[str, Any]:
    """Wait until the thread's only run has ended."""
    while True:
        [run] = api.get(f"/threads/{thread_id}/runs").json()["data"]
        if run["status"] in ENDS:
            return dict(run)
        assert time.monotonic() < deadline, run["status"]
        time.sleep(0.02)


def texts_of(api: httpx2.Client, thread_id: str) -> list[str]:
    """Return the texts of a thread's messages, over all pages."""
    texts: list[str] = []
    query = {"limit": "100", "order": "asc"}
    while True:
        page = api.get(f"/threads/{thread_id}/messages", params=query).json()
        texts += [message["content"][0]["text"]["value"] for message in page["data"]]
        if not page["has_more"]:
            return texts
        query["after"] = page["last_id"]
