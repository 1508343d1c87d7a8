"""vLLM dies under its runs: half answers are kept and marked, threads stay usable, the next one answers what waits."""

import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types.beta import Assistant
from openai.types.beta.threads import Run

from tests.vllm.engine import Engine
from tests.vllm.lines import ENDLESS, NEWEST_MESSAGE, SAY_HELLO, TAUGHT, TELL_A_STORY
from tests.vllm.talk import POLL_MS, answer_of, events_on, new_thread, said_in, text_of

DELTA = "thread.message.delta"
DELTAS_BEFORE = 20
IDLE_WITHIN_S = 15.0
DIES_WITHIN_S = 15.0
LAST_EVENTS = ["thread.message.incomplete", "thread.run.step.failed", "thread.run.failed", "done"]
WAYS = {"its engine process": Engine.kill_core, "all of it": Engine.kill}


def stream_and_interrupt(
    client: openai.OpenAI, thread_id: str, assistant_id: str, interrupt: Callable[[], None]
) -> list[tuple[str, Any]]:
    """Stream an answer without end; `interrupt` when some words have come; return the events to the stream's end."""
    runs = client.beta.threads.runs.with_streaming_response
    events: list[tuple[str, Any]] = []
    with runs.create(thread_id, assistant_id=assistant_id, response_format=ENDLESS, stream=True) as response:
        for event in events_on(response.iter_lines()):
            events.append(event)
            if event[0] == DELTA and [name for name, _ in events].count(DELTA) == DELTAS_BEFORE:
                interrupt()
    return events


def assert_it_failed_and_kept(client: openai.OpenAI, run: Run, said: str | None = None) -> None:
    """Failed with words for an operator; what was said is an incomplete message."""
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.code == "server_error"
    assert "model server" in run.last_error.message
    assert TELL_A_STORY not in run.last_error.message
    (message,) = client.beta.threads.messages.list(run.thread_id, run_id=run.id).data
    assert message.status == "incomplete"
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "run_failed"
    assert text_of(message).startswith('{"story":')
    assert said is None or text_of(message) == said


def goes_on(client: openai.OpenAI, run: Run) -> bool:
    """Tell whether a run that has said nothing still waits for a model server. If not, it failed and says why."""
    run = client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    if run.status != "failed":
        return True
    assert run.last_error is not None
    assert run.last_error.code == "server_error"
    assert "model server" in run.last_error.message
    assert client.beta.threads.messages.list(run.thread_id, run_id=run.id).data == []
    return False


def wait_until_queued(client: openai.OpenAI, run: Run, within_s: float = 5.0) -> None:
    """Between two attempts a run that has a model server to wait for is queued."""
    deadline = time.monotonic() + within_s
    while (status := client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id).status) != "queued":
        assert time.monotonic() < deadline, f"the run is {status}"
        time.sleep(0.02)


def wait_until_waiting(engine: Engine, within_s: float = 5.0) -> None:
    """Wait until one request is in the engine's queue."""
    deadline = time.monotonic() + within_s
    while engine.waiting() != 1:
        assert time.monotonic() < deadline, "no request waits in the engine"
        time.sleep(0.02)


@pytest.mark.parametrize("die", WAYS.values(), ids=WAYS.keys())
def test_an_engine_that_dies_fails_the_answers_it_had_begun_and_the_next_one_answers_what_waits(
    small_client: openai.OpenAI, small_assistant: Assistant, small_engine: Engine, die: Callable[[Engine], None]
) -> None:
    runs = small_client.beta.threads.runs
    assistant_id = small_assistant.id
    small_engine.wait_until_idle(IDLE_WITHIN_S)
    polled = runs.create(new_thread(small_client, TELL_A_STORY), assistant_id=assistant_id, response_format=ENDLESS)
    silent: list[Run] = []  # waits in the engine's queue: the polled and the streamed run have its two places
    killed_at = [0.0]

    def interrupt() -> None:
        silent.append(runs.create(new_thread(small_client, SAY_HELLO), assistant_id=assistant_id))
        wait_until_waiting(small_engine)
        killed_at[0] = time.monotonic()
        die(small_engine)

    thread_id = new_thread(small_client, TELL_A_STORY)
    events = stream_and_interrupt(small_client, thread_id, assistant_id, interrupt)
    print(f"the stream ended {time.monotonic() - killed_at[0]:.2f} s after the kill")
    assert [name for name, _ in events[-4:]] == LAST_EVENTS
    streamed = runs.retrieve(events[0][1]["id"], thread_id=thread_id)
    assert_it_failed_and_kept(small_client, streamed, said=said_in(events))
    polled = runs.poll(polled.id, thread_id=polled.thread_id, poll_interval_ms=POLL_MS)
    assert_it_failed_and_kept(small_client, polled)

    small_engine.wait_until_gone(DIES_WITHIN_S)
    print(f"the engine was gone {time.monotonic() - killed_at[0]:.2f} s after the kill")
    waiting = [run for run in silent if goes_on(small_client, run)]
    # While a server whose engine process died takes itself down, it answers 500: tries may run out meanwhile.
    assert waiting or die is Engine.kill_core
    small_client.beta.threads.messages.create(thread_id, role="user", content=SAY_HELLO)
    waiting.append(runs.create(thread_id, assistant_id=assistant_id, truncation_strategy=NEWEST_MESSAGE))
    for run in waiting:
        wait_until_queued(small_client, run)

    small_engine.begin()
    ready_at = time.monotonic()
    ended = [runs.poll(run.id, thread_id=run.thread_id, poll_interval_ms=POLL_MS) for run in waiting]
    print(f"what waited was answered {time.monotonic() - ready_at:.2f} s after the next engine was ready")
    assert [answer_of(small_client, run) for run in ended] == [TAUGHT[SAY_HELLO]] * len(waiting)
