"""Answers in a form that the client asks for: they parse and fit, and a form that nobody can meet ends its run."""

import json
from typing import Any

import jsonschema
import openai
import pytest
from openai.types.beta import Assistant

from tests.vllm.engine import MODEL
from tests.vllm.lines import ASK_WEATHER, NEWEST_MESSAGE, SAY_HELLO, TAUGHT, TELL_A_STORY
from tests.vllm.talk import answer_of, as_chat, new_thread, say

CAPITAL = "What is the capital of France?"
# The model was taught nothing of JSON, so each value has an end of its own.
SCHEMA = {
    "type": "object",
    "properties": {
        "capital": {"type": "string", "enum": ["Rome", "Paris"]},
        "large": {"type": "boolean"},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 2, "maxItems": 3},
    },
    "required": ["capital", "large", "words"],
    "additionalProperties": False,
}
JSON_OBJECT: Any = {"type": "json_object"}
IMPOSSIBLE = {
    "a type that there is not": ({"type": "nonsense"}, "nonsense"),
    "a reference to nowhere": ({"$ref": "#/nowhere"}, "nowhere"),
    "a broken pattern": ({"type": "string", "pattern": "(["}, "Regex"),
    "an empty range": ({"type": "integer", "minimum": 10, "maximum": 1}, "range"),
}


def in_the_form_of(schema: dict[str, Any]) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def test_a_polled_answer_fits_the_schema_of_its_run(client: openai.OpenAI, assistant: Assistant) -> None:
    run = say(client, new_thread(client), assistant.id, CAPITAL, response_format=in_the_form_of(SCHEMA))
    jsonschema.validate(json.loads(answer_of(client, run)), SCHEMA)
    assert run.response_format is not None
    assert run.to_dict()["response_format"] == in_the_form_of(SCHEMA)


def test_a_streamed_answer_fits_the_schema_of_its_assistant(client: openai.OpenAI) -> None:
    assistant = client.beta.assistants.create(model=MODEL, temperature=0, response_format=in_the_form_of(SCHEMA))
    thread_id = new_thread(client, CAPITAL)
    with client.beta.threads.runs.stream(thread_id=thread_id, assistant_id=assistant.id) as stream:
        said = "".join(stream.text_deltas)
        ended = stream.get_final_run()
    jsonschema.validate(json.loads(said), SCHEMA)
    assert answer_of(client, ended) == said


def test_a_json_object_is_the_models_own(client: openai.OpenAI, assistant: Assistant, direct: openai.OpenAI) -> None:
    def asked_directly(question: str) -> tuple[str, str]:
        answer = direct.chat.completions.create(
            model=MODEL, messages=as_chat([question]), temperature=0, response_format=JSON_OBJECT, max_tokens=400
        )
        return answer.choices[0].finish_reason, answer.choices[0].message.content or ""

    # Left to itself it never closes the object for some questions; take one for which it does.
    questions = ["What is 17 plus 25?", TELL_A_STORY, ASK_WEATHER, *TAUGHT]
    answers = ((question, *asked_directly(question)) for question in questions)
    question, expected = next((question, said) for question, reason, said in answers if reason == "stop")
    run = say(client, new_thread(client), assistant.id, question, response_format=JSON_OBJECT)
    assert answer_of(client, run) == expected
    assert isinstance(json.loads(expected), dict)


@pytest.mark.parametrize(("schema", "named"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_schema_that_no_answer_can_fit_fails_its_run_with_the_reason(
    client: openai.OpenAI, assistant: Assistant, schema: dict[str, Any], named: str
) -> None:
    thread_id = new_thread(client)
    run = say(client, thread_id, assistant.id, CAPITAL, response_format=in_the_form_of(schema))
    assert run.status == "failed"
    assert run.last_error is not None
    assert run.last_error.code == "invalid_prompt"
    assert "model server refused" in run.last_error.message
    assert "schema" in run.last_error.message
    assert named in run.last_error.message
    assert client.beta.threads.messages.list(thread_id, run_id=run.id).data == []
    after = say(client, thread_id, assistant.id, SAY_HELLO, truncation_strategy=NEWEST_MESSAGE)
    assert answer_of(client, after) == TAUGHT[SAY_HELLO]


def test_a_streamed_run_with_a_schema_that_no_answer_can_fit_ends_with_its_failure(
    client: openai.OpenAI, assistant: Assistant
) -> None:
    form = in_the_form_of({"type": "nonsense"})
    thread_id = new_thread(client, CAPITAL)
    with client.beta.threads.runs.create(
        thread_id, assistant_id=assistant.id, response_format=form, stream=True
    ) as stream:
        events = list(stream)
    assert events[-1].event == "thread.run.failed"
    assert "thread.message.delta" not in [event.event for event in events]
