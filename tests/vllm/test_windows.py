"""Prompts are counted by vLLM's own tokenizer: as much of a thread as fits is shown, in one count a run at most."""

import json
import re
from collections.abc import Iterator

import openai
import pytest
from openai.types.beta import Assistant
from openai.types.beta.threads import Run

from tests.vllm.api import Api, running_api
from tests.vllm.engine import MODEL, Engine
from tests.vllm.lines import INSTRUCTIONS, SAY_HELLO, TAUGHT
from tests.vllm.server import get
from tests.vllm.talk import answer_of, say

WINDOW = 2048
LEAST_ANSWER = 256
MESSAGES = 1000
MOST_OF_A_MESSAGE = 80
FORECAST = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def far_sighted(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that offers the model whole threads."""
    with running_api(tmp_path_factory.mktemp("far_sighted"), engine, CONTEXT_MESSAGES="10000") as api:
        yield api


@pytest.fixture(scope="module")
def reader(far_sighted: Api) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=far_sighted.url, api_key=far_sighted.key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def clerk(reader: openai.OpenAI) -> Assistant:
    return reader.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0)


def counts(engine: Engine) -> int:
    """How often vLLM was asked to count."""
    _, metrics = get(engine.port, "/metrics")
    return sum(
        int(float(value))
        for value in re.findall(r'^http_requests_total{.*"/tokenize".*} (\S+)$', metrics, re.MULTILINE)
    )


def long_thread(client: openai.OpenAI) -> str:
    """A thread of a thousand messages, of some words each, in several languages."""
    texts = [f"{n}: Gold rose\n\n on a weaker dollar, naïve café 日本 🙂 {'again ' * (n % 7)}" for n in range(MESSAGES)]
    roles = ("user", "assistant")
    said = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return client.beta.threads.create(messages=said).id  # type: ignore[arg-type]


def prompt_tokens(run: Run) -> int:
    assert run.usage is not None, run.status
    return run.usage.prompt_tokens


def test_of_a_thread_of_a_thousand_messages_as_much_is_shown_as_fits_and_it_is_counted_once_a_run(
    reader: openai.OpenAI, clerk: Assistant, engine: Engine
) -> None:
    thread_id = long_thread(reader)
    for _ in range(4):
        before = counts(engine)
        run = say(reader, thread_id, clerk.id, SAY_HELLO, max_completion_tokens=256)
        assert run.status in ("completed", "incomplete")
        assert 0.9 * (WINDOW - LEAST_ANSWER) - MOST_OF_A_MESSAGE < prompt_tokens(run) <= WINDOW - LEAST_ANSWER
        assert counts(engine) - before <= 1


def test_a_short_thread_is_not_counted_at_all(reader: openai.OpenAI, clerk: Assistant, engine: Engine) -> None:
    before = counts(engine)
    run = say(reader, reader.beta.threads.create().id, clerk.id, SAY_HELLO)
    assert answer_of(reader, run) == TAUGHT[SAY_HELLO]
    assert counts(engine) == before


@pytest.mark.parametrize("budget", [256, 700])
def test_a_prompt_keeps_to_its_budget(reader: openai.OpenAI, clerk: Assistant, budget: int) -> None:
    run = say(reader, long_thread(reader), clerk.id, SAY_HELLO, max_prompt_tokens=budget, max_completion_tokens=256)
    assert run.status in ("completed", "incomplete")
    assert budget - MOST_OF_A_MESSAGE < prompt_tokens(run) <= budget


def test_a_prompt_with_tools_keeps_to_its_budget(reader: openai.OpenAI, clerk: Assistant) -> None:
    options = {"tools": [FORECAST], "tool_choice": "none", "max_completion_tokens": 256}
    run = say(reader, long_thread(reader), clerk.id, SAY_HELLO, max_prompt_tokens=600, **options)
    assert 600 - MOST_OF_A_MESSAGE < prompt_tokens(run) <= 600


def test_a_message_over_the_prompts_budget_ends_its_run_incomplete_and_frees_the_thread(
    reader: openai.OpenAI, clerk: Assistant
) -> None:
    thread_id = reader.beta.threads.create().id
    run = say(reader, thread_id, clerk.id, "Tell me a story " * 100, max_prompt_tokens=256)
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_prompt_tokens"
    after = say(reader, thread_id, clerk.id, SAY_HELLO, max_prompt_tokens=256)
    assert answer_of(reader, after) == TAUGHT[SAY_HELLO]


def test_a_budget_counts_the_prompts_of_every_call_of_a_run(reader: openai.OpenAI, clerk: Assistant) -> None:
    thread_id = reader.beta.threads.create().id
    options = {"tools": [FORECAST], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
    asked = say(reader, thread_id, clerk.id, "What is the weather in Paris?", max_prompt_tokens=256, **options)
    assert asked.status == "requires_action"
    assert asked.required_action is not None
    [call] = asked.required_action.submit_tool_outputs.tool_calls
    assert json.loads(call.function.arguments)
    run = reader.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=asked.id,
        thread_id=thread_id,
        tool_outputs=[{"tool_call_id": call.id, "output": "sunny " * 60}],
        poll_interval_ms=50,
    )
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_prompt_tokens"
    assert prompt_tokens(run) <= 256


def test_a_message_larger_than_the_window_does_not_spoil_its_thread(reader: openai.OpenAI, clerk: Assistant) -> None:
    thread_id = reader.beta.threads.create().id
    run = say(reader, thread_id, clerk.id, "Tell me a story " * 1500)
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.code == "invalid_prompt"
    assert "2048" in run.last_error.message
    after = say(reader, thread_id, clerk.id, SAY_HELLO)
    assert answer_of(reader, after) == TAUGHT[SAY_HELLO]
