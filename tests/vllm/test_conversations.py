"""Conversations that are polled: the API's answers and token counts are those of vLLM itself."""

import openai
import pytest
from openai.types.beta import Assistant

from tests.vllm.engine import MODEL
from tests.vllm.lines import NEWEST_MESSAGE, SAY_HELLO, TAUGHT
from tests.vllm.talk import answer_of, ask_directly, new_thread, say, text_of, usage_of, words_of


@pytest.mark.parametrize(("question", "answer"), TAUGHT.items())
def test_a_polled_run_leaves_the_models_answer_on_the_thread(
    client: openai.OpenAI, assistant: Assistant, direct: openai.OpenAI, question: str, answer: str
) -> None:
    run = say(client, new_thread(client), assistant.id, question)
    assert answer_of(client, run) == answer
    assert usage_of(run) == usage_of(ask_directly(direct, [question]))
    assert run.model == MODEL


def test_a_second_turn_sends_the_history_and_nothing_else(
    client: openai.OpenAI, assistant: Assistant, direct: openai.OpenAI
) -> None:
    thread_id = new_thread(client)
    first = say(client, thread_id, assistant.id, SAY_HELLO)
    answers = {question: ask_directly(direct, [SAY_HELLO, answer_of(client, first), question]) for question in TAUGHT}
    # It was taught no second turns and answers some with nothing at all; take one that it has words for.
    question, expected = next((asked, said) for asked, said in answers.items() if words_of(said))
    second = say(client, thread_id, assistant.id, question)
    assert answer_of(client, second) == words_of(expected)
    assert usage_of(second) == usage_of(expected)
    assert usage_of(second)[0] > usage_of(first)[0]


def test_a_thread_lists_the_whole_conversation_in_the_order_it_was_said(
    client: openai.OpenAI, assistant: Assistant
) -> None:
    thread_id = new_thread(client)
    for question, answer in TAUGHT.items():
        run = say(client, thread_id, assistant.id, question, truncation_strategy=NEWEST_MESSAGE)
        assert answer_of(client, run) == answer
    listed = client.beta.threads.messages.list(thread_id, order="asc").data
    assert [text_of(message) for message in listed] == [text for turn in TAUGHT.items() for text in turn]
    assert [message.role for message in listed] == ["user", "assistant"] * len(TAUGHT)


def test_a_run_has_one_step_that_points_at_its_message(client: openai.OpenAI, assistant: Assistant) -> None:
    thread_id = new_thread(client)
    run = say(client, thread_id, assistant.id, SAY_HELLO)
    (step,) = client.beta.threads.runs.steps.list(run.id, thread_id=thread_id).data
    (message,) = client.beta.threads.messages.list(thread_id, run_id=run.id).data
    assert step.step_details.type == "message_creation"
    assert step.step_details.message_creation.message_id == message.id
    assert (step.status, usage_of(step)) == ("completed", usage_of(run))


def test_instructions_of_a_run_replace_the_assistants(
    client: openai.OpenAI, assistant: Assistant, direct: openai.OpenAI
) -> None:
    run = say(client, new_thread(client), assistant.id, SAY_HELLO, instructions="Be brief.")
    expected = direct.chat.completions.create(
        model=MODEL,
        temperature=0,
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": SAY_HELLO}],
    )
    assert usage_of(run) == usage_of(expected)
    assert answer_of(client, run) == words_of(expected)
