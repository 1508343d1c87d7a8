"""Prompts and answers that do not fit: the run says so, there is no 500, the thread stays usable."""

import re

import openai
import pytest
from openai.types.beta import Assistant
from openai.types.beta.threads import Run

from tests.vllm.engine import CONTEXT_TOKENS
from tests.vllm.lines import ENDLESS, NEWEST_MESSAGE, SAY_HELLO, TAUGHT, TELL_A_STORY
from tests.vllm.talk import answer_of, new_thread, say, text_of, usage_of

# One message alone is past the 2,048 tokens, so no truncation can help. vLLM counts the tokens of the first
# and refuses the second unread: it has more than 65,536 characters.
TOO_LONG = {"6,000 tokens": "Tell me a story " * 1_500, "200,000 characters": "Tell me a story " * 12_500}


def assert_it_says_the_context_is_too_small(run: Run) -> None:
    if run.status == "incomplete":
        assert run.incomplete_details is not None
        assert run.incomplete_details.reason == "max_prompt_tokens"
        return
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.code in ("invalid_prompt", "server_error")
    assert "context" in run.last_error.message
    assert re.search(r"\b2,?048\b", run.last_error.message)
    assert "Tell me a story" not in run.last_error.message, "prompts never show up in errors"


@pytest.mark.parametrize("text", TOO_LONG.values(), ids=TOO_LONG.keys())
def test_a_message_longer_than_the_context_ends_its_run_and_leaves_the_thread_usable(
    client: openai.OpenAI, assistant: Assistant, text: str
) -> None:
    thread_id = new_thread(client)
    run = say(client, thread_id, assistant.id, text)
    assert_it_says_the_context_is_too_small(run)
    assert client.beta.threads.messages.list(thread_id, run_id=run.id).data == []
    after = say(client, thread_id, assistant.id, SAY_HELLO, truncation_strategy=NEWEST_MESSAGE)
    assert answer_of(client, after) == TAUGHT[SAY_HELLO]


def test_a_streamed_run_over_a_message_longer_than_the_context_ends_with_its_last_event(
    client: openai.OpenAI, assistant: Assistant
) -> None:
    thread_id = new_thread(client, TOO_LONG["6,000 tokens"])
    with client.beta.threads.runs.create(thread_id, assistant_id=assistant.id, stream=True) as stream:
        events = list(stream)
    ended = events[-1]
    assert ended.event in ("thread.run.failed", "thread.run.incomplete")
    assert_it_says_the_context_is_too_small(ended.data)
    client.beta.threads.messages.create(thread_id, role="user", content=SAY_HELLO)


def test_an_answer_over_its_token_budget_is_kept_and_marked_incomplete(
    client: openai.OpenAI, assistant: Assistant
) -> None:
    thread_id = new_thread(client)
    run = say(client, thread_id, assistant.id, TELL_A_STORY, response_format=ENDLESS, max_completion_tokens=256)
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_completion_tokens"
    assert usage_of(run)[1] == 256
    (message,) = client.beta.threads.messages.list(thread_id, run_id=run.id).data
    assert message.status == "incomplete"
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "max_tokens"
    assert text_of(message).startswith('{"story":')


def test_an_answer_whose_budget_reaches_past_the_window_is_kept_up_to_the_windows_end(
    client: openai.OpenAI, assistant: Assistant
) -> None:
    question = "Tell me a story " * 200
    run = say(client, new_thread(client), assistant.id, question, response_format=ENDLESS, max_completion_tokens=1_000)
    assert run.status == "incomplete", f"{run.status}: {run.last_error}"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_completion_tokens"
    prompt, completion, total = usage_of(run)
    assert prompt + 1_000 > CONTEXT_TOKENS
    assert (total, completion) == (CONTEXT_TOKENS, CONTEXT_TOKENS - prompt)
    (message,) = client.beta.threads.messages.list(run.thread_id, run_id=run.id).data
    assert (message.status, text_of(message)[:10]) == ("incomplete", '{"story":"')
