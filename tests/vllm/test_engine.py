"""The premises of the other tests, shown on vLLM alone: if one of these fails, blame the rig, not the API."""

import openai
import pytest

from tests.vllm.engine import CONTEXT_TOKENS, MODEL, Engine
from tests.vllm.lines import ENDLESS, STORY, TAUGHT, TELL_A_STORY
from tests.vllm.talk import as_chat, ask_directly, usage_of, words_of


@pytest.mark.parametrize(("question", "answer"), [*TAUGHT.items(), (TELL_A_STORY, STORY)])
def test_the_model_says_what_it_was_taught(direct: openai.OpenAI, question: str, answer: str) -> None:
    assert words_of(ask_directly(direct, [question])) == answer


def test_an_answer_without_end_is_freed_when_its_reader_goes(direct: openai.OpenAI, engine: Engine) -> None:
    assert engine.running() == 0
    stream = direct.chat.completions.create(
        model=MODEL, messages=as_chat([TELL_A_STORY]), response_format=ENDLESS, stream=True
    )
    with stream:
        for number, _chunk in enumerate(stream):
            if number == 50:
                break
        assert engine.running() == 1
    engine.wait_until_idle(within_s=2)


def test_an_answer_that_may_be_longer_than_the_window_is_cut_at_its_end_and_not_refused(direct: openai.OpenAI) -> None:
    answer = direct.chat.completions.create(
        model=MODEL, messages=as_chat(["Tell me a story " * 200]), response_format=ENDLESS, max_tokens=1_000
    )
    prompt, completion, total = usage_of(answer)
    assert prompt + 1_000 > CONTEXT_TOKENS
    assert (total, answer.choices[0].finish_reason) == (CONTEXT_TOKENS, "length")
    assert completion < 1_000
