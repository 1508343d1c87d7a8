"""Chat completions through the API and straight from vLLM: the same request gets the same answer, field by field."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.vllm.api import Api, running_api
from tests.vllm.engine import EMBEDDING, MODEL, Engine, running_engine
from tests.vllm.lines import SAY_HELLO, WEATHER
from tests.vllm.talk import as_chat

OF_THE_MOMENT = {"id", "created", "metrics"}
PLAIN: dict[str, Any] = {"messages": as_chat([SAY_HELLO]), "temperature": 0}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "quote",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"symbol": {"type": "string", "maxLength": 8}},
            "required": ["symbol"],
            "additionalProperties": False,
        },
    },
}
FORECAST = {"messages": as_chat(["What is the weather in Paris?"]), "tools": [WEATHER], "temperature": 0}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "two at once": {**PLAIN, "n": 2, "temperature": 0.5, "seed": 7},
    "logprobs": {**PLAIN, "logprobs": True, "top_logprobs": 3},
    "a tool": FORECAST,
    "a named tool": {**FORECAST, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    "json_schema": {**PLAIN, "response_format": SCHEMA},
    "stop": {"messages": as_chat(["Count to ten"]), "temperature": 0, "stop": [", 5"]},
    "length": {"messages": as_chat(["Count to ten"]), "temperature": 0, "max_tokens": 3},
    "a field of vLLM's own": {**PLAIN, "extra_body": {"min_tokens": 2, "return_token_ids": True}},
}


def without_the_moment(answer: dict[str, Any]) -> dict[str, Any]:
    """Leave out what two answers to one request never share: ids, and when they were made."""
    kept = {name: value for name, value in answer.items() if name not in OF_THE_MOMENT}
    text = json.dumps(kept)
    for choice in kept.get("choices", ()):
        for call in (choice.get("message") or choice.get("delta") or {}).get("tool_calls") or ():
            if call.get("id"):
                text = text.replace(call["id"], "an id")
    told: dict[str, Any] = json.loads(text)
    return told


def whole(client: openai.OpenAI, request: dict[str, Any]) -> dict[str, Any]:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, **request)
    return without_the_moment(json.loads(raw.text))


def text_of(client: openai.OpenAI, request: dict[str, Any]) -> tuple[str, list[str | None], bool]:
    """Return what a stream said, why it ended, and whether it told its usage."""
    chunks = list(client.chat.completions.create(model=MODEL, stream=True, **request))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    pieces = [
        (choice.delta.content or "")
        + "".join((call.function.arguments or "") for call in choice.delta.tool_calls or () if call.function)
        for choice in sorted(choices, key=lambda one: one.index)
    ]
    ends = [choice.finish_reason for choice in choices if choice.finish_reason]
    return "".join(pieces), ends, any(chunk.usage is not None for chunk in chunks)


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS.keys())
def test_an_answer_is_the_models_own_field_by_field(
    client: openai.OpenAI, direct: openai.OpenAI, request_of: dict[str, Any]
) -> None:
    assert whole(client, request_of) == whole(direct, request_of)


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream_is_the_models_own(
    client: openai.OpenAI, direct: openai.OpenAI, request_of: dict[str, Any], with_usage: bool
) -> None:
    asked = {**request_of, **({"stream_options": {"include_usage": True}} if with_usage else {})}
    ours = text_of(client, asked)
    assert ours == text_of(direct, asked)
    assert ours[2] is with_usage


def test_completions_are_the_models_own(client: openai.OpenAI, direct: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": MODEL, "prompt": "Once", "max_tokens": 8, "temperature": 0, "logprobs": 2}
    ours, theirs = (json.loads(one.completions.with_raw_response.create(**asked).text) for one in (client, direct))
    assert without_the_moment(ours) == without_the_moment(theirs)


def test_a_generating_server_has_no_embeddings_and_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="hello")


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"model": "nope"}, openai.NotFoundError),
        ({"temperature": -1}, openai.BadRequestError),
        ({"messages": []}, openai.BadRequestError),
        ({"max_tokens": 5000}, openai.BadRequestError),
        ({"messages": as_chat(["Tell me a story " * 1500])}, openai.BadRequestError),
    ],
)
def test_a_refusal_is_told_in_openais_envelope(client: openai.OpenAI, wrong: dict[str, Any], kind: Any) -> None:
    with pytest.raises(kind) as refused:
        client.chat.completions.create(**({"model": MODEL} | PLAIN | wrong))
    assert refused.value.body["type"] == "invalid_request_error"
    assert set(refused.value.body) == {"message", "type", "param", "code"}


def test_a_reader_that_leaves_frees_the_engine(api: Api, engine: Engine) -> None:
    with openai.OpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60) as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=as_chat(["Count to ten"]), stream=True, extra_body={"min_tokens": 1500}
        )
        next(iter(stream))
        assert engine.running() == 1
        stream.close()
        assert engine.wait_until_idle(2.0) < 0.3


@pytest.fixture(scope="module")
def embedder(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A vLLM that makes embeddings instead of answers."""
    with running_engine(tmp_path_factory.mktemp("embedder") / "vllm.log", EMBEDDING) as engine:
        yield engine


def test_embeddings_are_the_models_own_as_numbers_and_as_base64(
    embedder: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked: dict[str, Any] = {"model": MODEL, "input": ["gold rose", "on a weaker dollar"]}
    with (
        running_api(tmp_path_factory.mktemp("embedding_api"), embedder) as api,
        openai.OpenAI(base_url=api.url, api_key=api.key, max_retries=0) as ours,
        openai.OpenAI(base_url=embedder.url, api_key=embedder.key, max_retries=0) as theirs,
    ):
        for form in ("float", "base64"):
            raw = [
                json.loads(one.embeddings.with_raw_response.create(**asked, encoding_format=form).text)
                for one in (ours, theirs)
            ]
            assert without_the_moment(raw[0]) == without_the_moment(raw[1])
        assert len(ours.embeddings.create(**asked).data) == 2
