"""Responses over a real vLLM: what it says, counts and calls, plain, streamed, later, resumed and gone on from."""

import itertools
import json
import time
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai.types.beta import Assistant
from openai.types.responses import Response
from pydantic import BaseModel

from tests.vllm.api import STOP_WITHIN_S, running_api
from tests.vllm.engine import MODEL, Engine
from tests.vllm.lines import (
    ASK_WEATHER,
    INSTRUCTIONS,
    SAY_HELLO,
    STORY,
    TAUGHT,
    TELL_A_STORY,
    WEATHER,
    WEATHER_ANSWER,
    WEATHER_OUTPUT,
)
from tests.vllm.talk import ask_directly, new_thread, say, text_of, usage_of, words_of

ASKED: Any = {"model": MODEL, "instructions": INSTRUCTIONS, "temperature": 0}
TOOL: Any = {"type": "function", **WEATHER["function"]}
TURNS = 10


class Capital(BaseModel):
    """What an answer is read into."""

    capital: Literal["Rome", "Paris"]  # the model was taught nothing of JSON, so each value has an end of its own
    large: bool


def counts_of(response: Response) -> tuple[int, int, int]:
    assert response.usage is not None
    return response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens


def polled(client: openai.OpenAI, response: Response) -> Response:
    while response.status in ("queued", "in_progress"):
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    return response


@pytest.mark.parametrize(("question", "answer"), TAUGHT.items())
def test_a_response_is_what_the_model_says_and_counts(
    client: openai.OpenAI, direct: openai.OpenAI, question: str, answer: str
) -> None:
    response = client.responses.create(**ASKED, input=question)
    assert (response.status, response.output_text) == ("completed", answer)
    expected = usage_of(ask_directly(direct, [question]))
    assert counts_of(response) == expected
    counted = client.responses.input_tokens.count(model=MODEL, instructions=INSTRUCTIONS, input=question)
    assert counted.input_tokens == expected[0]


def test_a_streamed_response_through_the_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(**ASKED, input=TELL_A_STORY) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(deltas) > 10
    assert "".join(deltas) == final.output_text == STORY
    assert client.responses.retrieve(final.id).output_text == STORY


@pytest.mark.parametrize("context", ["chain", "conversation"])
def test_a_loop_of_tool_calls(client: openai.OpenAI, context: str) -> None:
    own: dict[str, Any] = {}
    if context == "conversation":
        own = {"conversation": client.conversations.create().id}
    first = client.responses.create(**ASKED, input=ASK_WEATHER, tools=[TOOL], **own)
    [call] = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER_OUTPUT}
    own = own or {"previous_response_id": first.id}
    second = client.responses.create(**ASKED, input=[output], tools=[TOOL], **own)
    assert second.output_text == WEATHER_ANSWER


def test_a_streamed_call(client: openai.OpenAI) -> None:
    # Not through the helper: what it adds to a tool is not what the model was taught.
    with client.responses.create(**ASKED, input=ASK_WEATHER, tools=[TOOL], stream=True) as stream:
        events = list(stream)
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert events[-1].type == "response.completed"
    [call] = events[-1].response.output
    assert call.type == "function_call"
    assert "".join(pieces) == call.arguments
    assert json.loads(call.arguments) == {"city": "Paris"}


def test_an_answer_is_read_into_a_class(client: openai.OpenAI) -> None:
    response = client.responses.parse(**ASKED, input="What is the capital of France?", text_format=Capital)
    assert isinstance(response.output_parsed, Capital)


def test_a_response_of_the_background_is_polled(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASKED, input=TELL_A_STORY, background=True)
    assert (response.status, response.output_text) == ("queued", "")
    ended = polled(client, response)
    assert (ended.status, ended.output_text) == ("completed", STORY)


def test_a_cut_stream_is_resumed_where_it_was_left(client: openai.OpenAI) -> None:
    with client.responses.create(**ASKED, input=TELL_A_STORY, background=True, stream=True) as stream:
        begun = list(itertools.islice(stream, 20))
    assert begun[0].type == "response.created"
    rest = list(client.responses.retrieve(begun[0].response.id, stream=True, starting_after=begun[-1].sequence_number))
    told = [*begun, *rest]
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == STORY


def test_a_cancelled_response_keeps_what_was_said(client: openai.OpenAI) -> None:
    endless: Any = {"type": "object", "properties": {"story": {"type": "string", "minLength": 20_000}}}
    form: Any = {"type": "json_schema", "name": "story", "schema": endless | {"required": ["story"]}}
    response = client.responses.create(**ASKED, input=TELL_A_STORY, background=True, text={"format": form})
    while not client.responses.retrieve(response.id).output:
        time.sleep(0.05)
    time.sleep(0.3)
    cancelled = client.responses.cancel(response.id)
    assert (cancelled.status, cancelled.output[0].type) == ("cancelled", "message")
    assert cancelled.output_text
    assert client.responses.cancel(response.id).status == "cancelled"


def test_an_answer_that_is_too_long_is_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASKED, input=TELL_A_STORY, max_output_tokens=16)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert STORY.startswith(response.output_text)


def test_what_the_window_cannot_take_fails_unless_it_may_be_cut(client: openai.OpenAI) -> None:
    long = " ".join(["word"] * 1_200)
    first = client.responses.create(**ASKED, input=long)
    more = client.responses.create(**ASKED, input=long, previous_response_id=first.id)
    assert more.status == "failed"
    assert more.error is not None
    assert more.error.code == "invalid_prompt"
    cut = client.responses.create(**ASKED, input=SAY_HELLO, previous_response_id=more.id, truncation="auto")
    assert cut.status == "completed"


def test_forks_go_on_from_one_response(client: openai.OpenAI, direct: openai.OpenAI) -> None:
    root = client.responses.create(**ASKED, input=SAY_HELLO)
    for question in TAUGHT:
        expected = ask_directly(direct, [SAY_HELLO, root.output_text, question])
        fork = client.responses.create(**ASKED, input=question, previous_response_id=root.id)
        assert (fork.output_text, counts_of(fork)) == (words_of(expected), usage_of(expected))


def test_what_is_not_stored_is_answered_alike(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASKED, input=SAY_HELLO, store=False)
    assert response.output_text == TAUGHT[SAY_HELLO]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_ten_turns_of_a_conversation_with_a_restart_in_between(engine: Engine, tmp_path: Path) -> None:
    with (
        running_api(tmp_path, engine) as api,
        openai.OpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60) as client,
    ):
        conversation = client.conversations.create().id
        counted = []
        for turn in range(TURNS):
            if turn == TURNS // 2:
                api.stop(STOP_WITHIN_S)
                api.begin(engine)
            response = client.responses.create(**ASKED, input=SAY_HELLO, conversation=conversation)
            assert response.status == "completed"
            counted.append(counts_of(response)[0])
        items = list(client.conversations.items.list(conversation, order="asc", limit=7))
    assert [item.type for item in items] == ["message"] * 2 * TURNS
    assert counted == sorted(set(counted))


def test_turns_through_assistants_and_responses_are_one_conversation(
    client: openai.OpenAI, assistant: Assistant, direct: openai.OpenAI
) -> None:
    thread_id = new_thread(client)
    conversation = thread_id.replace("thread_", "conv_")
    say(client, thread_id, assistant.id, SAY_HELLO)
    turns = [SAY_HELLO, TAUGHT[SAY_HELLO]]
    for question in list(TAUGHT)[:2]:
        expected = ask_directly(direct, [*turns, question])
        response = client.responses.create(**ASKED, input=question, conversation=conversation)
        assert (response.output_text, counts_of(response)) == (words_of(expected), usage_of(expected))
        turns += [question, words_of(expected)]
    run = say(client, thread_id, assistant.id, SAY_HELLO)
    assert usage_of(run) == usage_of(ask_directly(direct, [*turns, SAY_HELLO]))
    listed = client.beta.threads.messages.list(thread_id, order="asc").data
    assert [text_of(message) for message in listed[: len(turns)]] == turns
