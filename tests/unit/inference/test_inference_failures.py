"""What each refusal of a model server becomes: a typed failure whose message tells an operator what to do."""

import json

import pytest

from app.inference.failures import (
    MESSAGE_LIMIT,
    ModelBroke,
    ModelBusy,
    ModelFailure,
    ModelRefused,
    ModelUnknown,
    PromptTooLong,
    failure_of_answer,
    failure_of_event,
)
from tests.fakes.model_wire import REFUSALS, SECRET, error

EXPECTED: dict[str, tuple[type[ModelFailure], str, str]] = {
    "no key or a wrong one": (ModelBroke, "server_error", "MODEL_API_KEY"),
    "unknown model": (ModelUnknown, "server_error", "The model `nope` does not exist"),
    "prompt too long": (PromptTooLong, "invalid_prompt", "maximum context length is 2048 tokens"),
    "prompt too long to be counted": (PromptTooLong, "invalid_prompt", "contains 70000 characters"),
    "max_tokens over the window": (PromptTooLong, "invalid_prompt", "max_model_len=2048"),
    "temperature negative": (ModelRefused, "invalid_prompt", "temperature must be non-negative"),
    "temperature too high": (ModelRefused, "invalid_prompt", "temperature must be in [0, 2]"),
    "top_p zero": (ModelRefused, "invalid_prompt", "top_p must be in (0, 1]"),
    "max_tokens zero": (PromptTooLong, "invalid_prompt", "no room for an answer"),
    "n zero": (ModelRefused, "invalid_prompt", "n must be at least 1"),
    "n with greedy sampling": (ModelRefused, "invalid_prompt", "greedy sampling"),
    "wrong type": (ModelRefused, "invalid_prompt", "body.messages"),
    "bad JSON": (ModelRefused, "invalid_prompt", "body.1"),
    "content type not JSON": (ModelRefused, "invalid_prompt", "400"),
    "empty messages": (ModelRefused, "invalid_prompt", "empty conversation"),
    "stream options without stream": (ModelRefused, "invalid_prompt", "Stream options"),
    "image to a text model": (ModelRefused, "invalid_prompt", "not a multimodal model"),
    "bad schema": (ModelRefused, "invalid_prompt", "Grammar error"),
    "queue full": (ModelBusy, "rate_limit_exceeded", "The engine is currently busy"),
    "engine died": (ModelBroke, "server_error", "EngineCore encountered an issue"),
    "unknown path": (ModelUnknown, "server_error", "Not Found"),
    "wrong method": (ModelRefused, "invalid_prompt", "Method Not Allowed"),
}


def test_every_row_of_the_table_has_its_expectation() -> None:
    assert EXPECTED.keys() == REFUSALS.keys()


@pytest.mark.parametrize("case", EXPECTED)
def test_a_refusal_becomes_its_failure(case: str) -> None:
    kind, code, told = EXPECTED[case]
    failure = failure_of_answer(*REFUSALS[case])
    assert type(failure) is kind
    assert failure.code == code
    assert told in failure.message


@pytest.mark.parametrize("case", REFUSALS)
def test_a_message_never_repeats_what_was_sent(case: str) -> None:
    assert SECRET not in failure_of_answer(*REFUSALS[case]).message


def test_a_list_of_validation_errors_is_not_repeated() -> None:
    body = json.dumps({"detail": [{"type": "missing", "loc": ["body"], "msg": "Field required", "input": SECRET}]})
    failure = failure_of_answer(422, body.encode())
    assert type(failure) is ModelRefused
    assert SECRET not in failure.message


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"error":"\xff"}', b"[1]", b"3", b'{"error":{}}', b'{"error":null}', b'{"error":[1]}']
)
@pytest.mark.parametrize(
    ("status", "kind"), [(400, ModelRefused), (404, ModelUnknown), (429, ModelBusy), (502, ModelBroke)]
)
def test_a_body_that_says_nothing_still_gives_a_whole_sentence(status: int, kind: type, body: bytes) -> None:
    failure = failure_of_answer(status, body)
    assert type(failure) is kind
    assert failure.message.rstrip()[-1] not in ":("
    assert "None" not in failure.message


def test_a_long_message_is_cut() -> None:
    body = json.dumps(error("x" * 10_000, "BadRequestError", None, 400)).encode()
    assert len(failure_of_answer(400, body).message) < MESSAGE_LIMIT + 100


def test_llama_cpps_words_for_a_long_prompt_are_known_too() -> None:
    message = "the request exceeds the available context size, try increasing it"
    body = json.dumps({"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}}).encode()
    assert type(failure_of_answer(400, body)) is PromptTooLong


@pytest.mark.parametrize(
    "told",
    [
        {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": None, "code": 500},
        "EngineCore encountered an issue.",
    ],
)
def test_an_error_inside_a_stream_is_a_broken_model(told: object) -> None:
    failure = failure_of_event(told)
    assert type(failure) is ModelBroke
    assert "EngineCore encountered an issue." in failure.message


@pytest.mark.parametrize(
    ("code", "told", "expected"),
    [
        (503, "The engine is currently busy and cannot accept new requests.", ModelBusy),
        (400, "Failed to transform json schema into a grammar: Unsupported type", ModelRefused),
    ],
)
def test_a_refusal_that_comes_inside_a_stream_is_what_it_is_outside(
    code: int, told: str, expected: type[ModelFailure]
) -> None:
    failure = failure_of_event({"message": told, "type": "Error", "param": None, "code": code})
    assert type(failure) is expected
    assert told in failure.message


@pytest.mark.parametrize("told", [{}, {"code": 500}, {"message": None}, [SECRET], 7, True])
def test_an_error_event_without_words_says_so(told: object) -> None:
    message = failure_of_event(told).message
    assert message.endswith("no reason given")
