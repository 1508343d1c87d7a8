"""Function calls, out of vLLM's own tool-call parser: asked for, answered, and used in the final answer."""

import json
from typing import Any

import openai
import pytest
from openai.types.beta import Assistant
from openai.types.beta.threads import Run

from tests.vllm.engine import MODEL
from tests.vllm.lines import ASK_WEATHER, INSTRUCTIONS, WEATHER, WEATHER_ANSWER, WEATHER_OUTPUT
from tests.vllm.talk import POLL_MS, answer_of, new_thread, say


@pytest.fixture(scope="module")
def forecaster(client: openai.OpenAI) -> Assistant:
    return client.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0, tools=[WEATHER])


def outputs_for(run: Run) -> list[Any]:
    """Answer the one call that the model was taught to make."""
    assert run.status == "requires_action", f"{run.status}: {run.last_error}"
    assert run.required_action is not None
    (call,) = run.required_action.submit_tool_outputs.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    return [{"tool_call_id": call.id, "output": WEATHER_OUTPUT}]


def test_a_polled_run_asks_for_a_tool_and_answers_with_its_output(client: openai.OpenAI, forecaster: Assistant) -> None:
    run = say(client, new_thread(client), forecaster.id, ASK_WEATHER)
    ended = client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_for(run), poll_interval_ms=POLL_MS
    )
    assert answer_of(client, ended) == WEATHER_ANSWER
    steps = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc").data
    assert [(step.type, step.status) for step in steps] == [
        ("tool_calls", "completed"),
        ("message_creation", "completed"),
    ]


def test_a_streamed_run_asks_for_a_tool_and_streams_the_answer(client: openai.OpenAI, forecaster: Assistant) -> None:
    thread_id = new_thread(client, ASK_WEATHER)
    runs = client.beta.threads.runs
    with runs.stream(thread_id=thread_id, assistant_id=forecaster.id) as stream:
        asked = stream.get_final_run()
    with runs.submit_tool_outputs_stream(
        run_id=asked.id, thread_id=thread_id, tool_outputs=outputs_for(asked)
    ) as stream:
        said = "".join(stream.text_deltas)
        ended = stream.get_final_run()
    assert said == answer_of(client, ended) == WEATHER_ANSWER
