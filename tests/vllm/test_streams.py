"""Streamed runs: the order of events, on the wire and through the SDK's helpers, and the text they carry."""

import time
from typing import Any

import openai
import pytest
from openai import AssistantEventHandler
from openai.types.beta import Assistant, AssistantStreamEvent
from openai.types.beta.assistant_stream_event import ThreadMessageDelta
from openai.types.beta.threads import Message, Text, TextDelta
from openai.types.beta.threads.runs import RunStep
from typing_extensions import override

from tests.vllm.lines import STORY, TAUGHT, TELL_A_STORY
from tests.vllm.talk import answer_of, ask_directly, new_thread, text_of, usage_of, words_of

DELTA = "thread.message.delta"
BEFORE_THE_WORDS = [
    "thread.run.created",
    "thread.run.queued",
    "thread.run.in_progress",
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
]
AFTER_THE_WORDS = ["thread.message.completed", "thread.run.step.completed", "thread.run.completed"]


def assert_in_order(names: list[str], *, begin: list[str], end: list[str]) -> None:
    """Exactly `begin`, one or more deltas, `end`."""
    words = [DELTA] * names.count(DELTA)
    assert words, f"no delta among {names}"
    assert names == begin + words + end


def text_in(event: AssistantStreamEvent) -> str:
    if not isinstance(event, ThreadMessageDelta):
        return ""
    parts: list[Any] = event.data.delta.content or []
    return "".join(part.text.value or "" for part in parts)


def test_the_wire_carries_every_event_once_and_ends_with_done(client: openai.OpenAI, assistant: Assistant) -> None:
    runs = client.beta.threads.runs.with_streaming_response
    thread_id = new_thread(client, TELL_A_STORY)
    with runs.create(thread_id, assistant_id=assistant.id, stream=True) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line and not line.startswith(":")]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert_in_order(names, begin=BEFORE_THE_WORDS, end=[*AFTER_THE_WORDS, "done"])
    assert len(lines) == 2 * len(names), "every event is one event line and one data line"
    assert lines[-1] == "data: [DONE]"


def test_the_words_come_while_they_are_made(client: openai.OpenAI, assistant: Assistant) -> None:
    arrived = []
    thread_id = new_thread(client, TELL_A_STORY)
    with client.beta.threads.runs.create(thread_id, assistant_id=assistant.id, stream=True) as stream:
        for event in stream:
            if event.event == DELTA:
                arrived.append(time.monotonic())
    assert len(arrived) >= 20, "the story is 241 tokens; under load a few share a chunk"
    # The story takes vLLM half a second; sent at the end, its pieces would arrive all at once.
    assert arrived[-1] - arrived[0] > 0.1


@pytest.mark.parametrize(("question", "answer"), [*TAUGHT.items(), (TELL_A_STORY, STORY)])
def test_a_streamed_answer_is_the_models_own(
    client: openai.OpenAI, assistant: Assistant, direct: openai.OpenAI, question: str, answer: str
) -> None:
    thread_id = new_thread(client, question)
    with client.beta.threads.runs.create(thread_id, assistant_id=assistant.id, stream=True) as stream:
        events = list(stream)
    assert_in_order([event.event for event in events], begin=BEFORE_THE_WORDS, end=AFTER_THE_WORDS)
    expected = ask_directly(direct, [question])
    assert "".join(map(text_in, events)) == words_of(expected) == answer
    ended = events[-1]
    assert ended.event == "thread.run.completed"
    assert usage_of(ended.data) == usage_of(expected)
    assert answer_of(client, ended.data) == answer


class Recorder(AssistantEventHandler):
    """Keeps what the SDK's handler was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.deltas: list[str] = []
        self.texts: list[str] = []
        self.messages: list[Message] = []
        self.steps: list[RunStep] = []
        self.failures: list[Exception] = []

    @override
    def on_event(self, event: AssistantStreamEvent) -> None:
        self.names.append(event.event)

    @override
    def on_text_delta(self, delta: TextDelta, snapshot: Text) -> None:
        self.deltas.append(delta.value or "")

    @override
    def on_text_done(self, text: Text) -> None:
        self.texts.append(text.value)

    @override
    def on_message_done(self, message: Message) -> None:
        self.messages.append(message)

    @override
    def on_run_step_done(self, run_step: RunStep) -> None:
        self.steps.append(run_step)

    @override
    def on_exception(self, exception: Exception) -> None:
        self.failures.append(exception)


def test_the_sdks_event_handler_sees_the_whole_answer(client: openai.OpenAI, assistant: Assistant) -> None:
    thread_id = new_thread(client, TELL_A_STORY)
    handler = Recorder()
    with client.beta.threads.runs.stream(
        thread_id=thread_id, assistant_id=assistant.id, event_handler=handler
    ) as stream:
        stream.until_done()
    assert_in_order(handler.names, begin=BEFORE_THE_WORDS, end=AFTER_THE_WORDS)
    assert "".join(handler.deltas) == STORY
    assert handler.texts == [STORY]
    assert [text_of(message) for message in handler.messages] == [STORY]
    assert handler.failures == []
    assert [step.status for step in handler.steps] == ["completed"]
    assert handler.get_final_run().status == "completed"


def test_a_thread_created_with_its_run_streams_the_thread_first(client: openai.OpenAI, assistant: Assistant) -> None:
    with client.beta.threads.create_and_run(
        assistant_id=assistant.id,
        thread={"messages": [{"role": "user", "content": TELL_A_STORY}], "metadata": {"desk": "fox"}},
        stream=True,
    ) as stream:
        events = list(stream)
    names: list[str] = [event.event for event in events]
    assert_in_order(names, begin=["thread.created", *BEFORE_THE_WORDS], end=AFTER_THE_WORDS)
    first, ended = events[0], events[-1]
    assert first.event == "thread.created"
    assert ended.event == "thread.run.completed"
    assert (first.data.id, first.data.metadata) == (ended.data.thread_id, {"desk": "fox"})
    assert "".join(map(text_in, events)) == answer_of(client, ended.data) == STORY
