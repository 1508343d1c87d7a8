"""Refusals: vLLM's status, type, param and wording for each bad request, streamed or not."""

import io
import json

import pytest

from .conftest import CHAT

pytestmark = pytest.mark.anyio

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
TOOL = {"type": "function", "function": {"name": "f"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}

CASES = {
    "unknown model": (
        HELLO | {"model": "nope"},
        (404, "NotFoundError", "model"),
        "The model `nope` does not exist. Valid aliases: sovereign-standin.",
    ),
    "prompt too long": (
        {"messages": [{"role": "user", "content": "word " * 300}]},
        (400, "BadRequestError", "input_tokens"),
        "This model's maximum context length is 256 tokens. However, your prompt contains at least 257 input",
    ),
    "prompt far too long": (
        {"messages": [{"role": "user", "content": "x" * 5000}]},
        (400, "BadRequestError", "input_text"),
        "This model's maximum context length is 256 tokens. However, your prompt contains 5000 characters",
    ),
    "output beyond the context": (
        HELLO | {"max_tokens": 5000},
        (400, "BadRequestError", "max_tokens"),
        "max_tokens=5000 cannot be greater than max_model_len=256. Please request fewer output tokens.",
    ),
    "output beyond the context, newer name": (
        HELLO | {"max_completion_tokens": 5000},
        (400, "BadRequestError", "max_completion_tokens"),
        "max_completion_tokens=5000 cannot be greater than max_model_len=256.",
    ),
    "cold": (
        HELLO | {"temperature": -1},
        (400, "BadRequestError", "temperature"),
        "temperature must be non-negative",
    ),
    "hot": (
        HELLO | {"temperature": 3},
        (400, "BadRequestError", "temperature"),
        "temperature must be in [0, 2], got",
    ),
    "top_p": (HELLO | {"top_p": 0}, (400, "BadRequestError", "top_p"), "top_p must be in (0, 1], got 0"),
    "no output": (
        HELLO | {"max_tokens": 0},
        (400, "BadRequestError", "max_tokens"),
        "max_tokens must be at least 1",
    ),
    "n 0": (HELLO | {"n": 0}, (400, "BadRequestError", None), "n must be at least 1, got 0."),
    "greedy n": (
        HELLO | {"n": 2, "temperature": 0},
        (400, "BadRequestError", None),
        "n must be 1 when using greedy sampling, got 2.",
    ),
    "empty stop": (
        HELLO | {"stop": ""},
        (400, "BadRequestError", None),
        "stop cannot contain an empty string.",
    ),
    "missing field": (
        {},
        (400, "Bad Request", "body.messages"),
        "1 validation error:\n  {'type': 'missing', 'loc': ",
    ),
    "wrong type": (
        {"messages": "x"},
        (400, "Bad Request", "body.messages"),
        "1 validation error:\n  {'type': 'list_type', 'loc': ",
    ),
    "message without role": (
        {"messages": [{"content": "x"}]},
        (400, "Bad Request", "body.messages.0.role"),
        "1 validation error:\n  {'type': 'missing'",
    ),
    "empty messages": (
        {"messages": []},
        (400, "BadRequestError", None),
        "Cannot apply chat template to an empty conversation.",
    ),
    "image": (
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        (400, "BadRequestError", None),
        "sovereign-standin is not a multimodal model",
    ),
    "schema missing": (
        HELLO | {"response_format": {"type": "json_schema"}},
        (400, "BadRequestError", "response_format"),
        "When response_format type is 'json_schema', the 'json_schema' field must be provided.",
    ),
    "schema of an unknown type": (
        HELLO
        | {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "nonsense"}},
            }
        },
        (400, "BadRequestError", None),
        "Grammar error: Invalid type: nonsense",
    ),
    "no tools": (
        HELLO | {"tools": []},
        (400, "BadRequestError", "tools"),
        "`tools` must not be an empty array.",
    ),
    "choice without tools": (
        HELLO | {"tool_choice": "auto"},
        (400, "BadRequestError", "tool_choice"),
        "When using `tool_choice`, `tools` must be set.",
    ),
    "choice of a missing tool": (
        HELLO | {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        (400, "BadRequestError", "tool_choice"),
        "The tool specified in `tool_choice` does not match any of the specified `tools`",
    ),
    "unknown choice": (
        HELLO | {"tools": [TOOL], "tool_choice": "sometimes"},
        (400, "BadRequestError", "tool_choice"),
        "Invalid value for `tool_choice`: sometimes!",
    ),
    "choice without a function": (
        HELLO | {"tools": [TOOL], "tool_choice": {"type": "function"}},
        (400, "BadRequestError", "tool_choice.function"),
        "Invalid value for `function`: `None` in `tool_choice`!",
    ),
    "choice without a name": (
        HELLO | {"tools": [TOOL], "tool_choice": {"function": {}}},
        (400, "BadRequestError", "tool_choice.function.name"),
        "Expected field `name` in `function` in `tool_choice`!",
    ),
    "top_logprobs alone": (
        HELLO | {"top_logprobs": 2},
        (400, "BadRequestError", "top_logprobs"),
        "when using `top_logprobs`, `logprobs` must be set to true.",
    ),
    "too many logprobs": (
        HELLO | {"logprobs": True, "top_logprobs": 21},
        (400, "BadRequestError", "logprobs"),
        "Requested sample logprobs of 21, which is greater than max allowed: 20",
    ),
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("name", CASES)
async def test_a_bad_chat_is_refused_as_vllm_refuses_it(serve, name, is_streamed):
    body, (status, kind, param), start = CASES[name]
    standin = await serve(max_model_len=256)
    got, answer = await standin.post(CHAT, **body, stream=is_streamed)
    error = answer["error"]
    assert (got, error["type"], error["param"]) == (status, kind, param)
    assert error["message"].startswith(start)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == status


async def test_stream_options_need_a_stream(standin):
    status, answer = await standin.post(CHAT, **HELLO, stream_options={"include_usage": True})
    assert (status, answer["error"]["param"]) == (400, "stream_options")
    assert answer["error"]["message"].startswith("Stream options can only be defined when `stream=True`.")
    status, _ = await standin.post(CHAT, **HELLO, stream_options={})
    assert status == 200


async def test_a_prompt_of_exactly_the_context_is_refused(serve):
    standin = await serve(max_model_len=16)
    status, answer = await standin.post(CHAT, messages=[{"role": "user", "content": "word " * 9 + "x"}])
    assert status == 400
    assert "contains 16 input tokens" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("content_type", "data", "param"),
    [
        ("text/plain", b"{}", None),
        ("application/json", b"{'messages': []}", "body.1"),
        ("application/json", b"[]", "body"),
        ("application/json", b"", "body"),
        ("application/json; charset=utf-8", b'{"messages": 1}', "body.messages"),
    ],
)
async def test_a_body_that_cannot_be_read_is_a_bad_request(standin, content_type, data, param):
    async with standin.session.post(standin.url + CHAT, data=data, headers={"Content-Type": content_type}) as response:
        error = (await response.json())["error"]
    assert (response.status, error["type"], error["param"]) == (400, "Bad Request", param)
    assert error["message"].startswith("1 validation error:\n  ")


async def test_a_body_of_megabytes_is_read_and_refused_for_its_length(standin):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 5_000_000}]}).encode()
    headers = {"Content-Type": "application/json"}
    async with standin.session.post(standin.url + CHAT, data=io.BytesIO(body), headers=headers) as response:
        error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, "input_text")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/tokenize"])
async def test_every_endpoint_knows_its_model(standin, path):
    status, answer = await standin.post(path, model="nope", prompt="x", input="x")
    assert (status, answer["error"]["type"]) == (404, "NotFoundError")


async def test_a_refused_request_leaves_the_connection_usable(standin):
    for _ in range(3):
        status, _ = await standin.post(CHAT, **HELLO, n=0)
        assert status == 400
    assert (await standin.chat("hello"))["choices"]
