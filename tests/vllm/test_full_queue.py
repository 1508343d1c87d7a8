"""An engine with no room (503): runs ask it a few times more, then say so; no thread stays locked."""

import contextlib
import time
from collections.abc import Iterator

import openai
import pytest
from openai.types.beta import Assistant

from tests.vllm.engine import API_KEY, MODEL, SMALL_LIMIT, SMALL_SEATS, Engine
from tests.vllm.lines import ENDLESS, NEWEST_MESSAGE, SAY_HELLO, STORY, TAUGHT, TELL_A_STORY
from tests.vllm.talk import POLL_MS, answer_of, as_chat, events_on, new_thread, say

IDLE_WITHIN_S = 15.0
ATTEMPTS_AT_MOST = 10
RUNS = 12


def refused_within(engine: Engine, before: int, within_s: float) -> None:
    """Wait until the engine has refused one more than `before`."""
    deadline = time.monotonic() + within_s
    while engine.refused() == before:
        assert time.monotonic() < deadline, "the engine was never asked while it was full"
        time.sleep(0.02)


@pytest.fixture
def full(small_engine: Engine) -> Iterator[contextlib.ExitStack]:
    """The small engine with every place taken by answers without end; closing the stack frees them all."""
    small_engine.wait_until_idle(IDLE_WITHIN_S)
    with contextlib.ExitStack() as places:
        other = places.enter_context(
            openai.OpenAI(base_url=small_engine.url, api_key=API_KEY, max_retries=0, timeout=60)
        )
        for _ in range(SMALL_LIMIT):
            stream = other.chat.completions.create(
                model=MODEL, messages=as_chat([TELL_A_STORY]), response_format=ENDLESS, stream=True
            )
            places.enter_context(stream)
        deadline = time.monotonic() + 5
        while (small_engine.running(), small_engine.waiting()) != (SMALL_SEATS, SMALL_LIMIT - SMALL_SEATS):
            assert time.monotonic() < deadline, "the small engine was not full"
            time.sleep(0.02)
        yield places


def test_a_run_asks_a_full_engine_a_few_times_and_then_fails_saying_so(
    small_client: openai.OpenAI, small_assistant: Assistant, small_engine: Engine, full: contextlib.ExitStack
) -> None:
    before = small_engine.refused()
    thread_id = new_thread(small_client)
    run = say(small_client, thread_id, small_assistant.id, SAY_HELLO)
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.code == "rate_limit_exceeded"
    assert "overloaded" in run.last_error.message
    assert 2 <= small_engine.refused() - before <= ATTEMPTS_AT_MOST
    full.close()
    small_engine.wait_until_idle(IDLE_WITHIN_S)
    after = say(small_client, thread_id, small_assistant.id, SAY_HELLO, truncation_strategy=NEWEST_MESSAGE)
    assert answer_of(small_client, after) == TAUGHT[SAY_HELLO]


def test_a_streamed_run_that_meets_a_full_engine_ends_with_its_failure(
    small_client: openai.OpenAI, small_assistant: Assistant, full: contextlib.ExitStack
) -> None:
    thread_id = new_thread(small_client, SAY_HELLO)
    runs = small_client.beta.threads.runs.with_streaming_response
    with runs.create(thread_id, assistant_id=small_assistant.id, stream=True) as response:
        events = list(events_on(response.iter_lines()))
    assert [name for name, _ in events[-2:]] == ["thread.run.failed", "done"]
    assert events[-2][1]["last_error"]["code"] == "rate_limit_exceeded"
    assert small_client.beta.threads.messages.list(thread_id).data[0].role == "user", "no half message is left"
    small_client.beta.threads.messages.create(thread_id, role="user", content=SAY_HELLO)


def test_a_run_that_met_a_full_engine_completes_once_there_is_room(
    small_client: openai.OpenAI, small_assistant: Assistant, small_engine: Engine, full: contextlib.ExitStack
) -> None:
    before = small_engine.refused()
    thread_id = new_thread(small_client, SAY_HELLO)
    run = small_client.beta.threads.runs.create(thread_id, assistant_id=small_assistant.id)
    refused_within(small_engine, before, within_s=5)
    full.close()
    ended = small_client.beta.threads.runs.poll(run.id, thread_id=thread_id, poll_interval_ms=POLL_MS)
    assert answer_of(small_client, ended) == TAUGHT[SAY_HELLO]


def test_more_runs_than_the_engine_takes_at_once_all_end_and_unlock_their_threads(
    small_client: openai.OpenAI, small_assistant: Assistant, small_engine: Engine
) -> None:
    small_engine.wait_until_idle(IDLE_WITHIN_S)
    before = small_engine.refused()
    threads = [new_thread(small_client, TELL_A_STORY) for _ in range(RUNS)]
    runs = [small_client.beta.threads.runs.create(thread, assistant_id=small_assistant.id) for thread in threads]
    ended = [
        small_client.beta.threads.runs.poll(run.id, thread_id=run.thread_id, poll_interval_ms=POLL_MS) for run in runs
    ]
    assert small_engine.refused() > before, "the engine took them all: it was never full"
    completed = [run for run in ended if run.status == "completed"]
    assert len(completed) >= SMALL_LIMIT
    assert {answer_of(small_client, run) for run in completed} == {STORY}
    errors = [run.last_error for run in ended if run.status != "completed"]
    assert {error and error.code for error in errors} <= {"rate_limit_exceeded"}
    for thread in threads:
        small_client.beta.threads.messages.create(thread, role="user", content=SAY_HELLO)
