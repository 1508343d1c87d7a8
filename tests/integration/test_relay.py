"""Chat completions, completions, embeddings: what reaches the model server, and what of its answer the client."""

import asyncio
import json
from typing import Any

import pytest

from tests.fakes import model_wire as wire
from tests.fakes.model_faults import cuts, replies, resets, sends, stalls
from tests.fakes.model_wire import REFUSALS
from tests.fixtures.calls import post
from tests.fixtures.rooms import Scripted

pytestmark = pytest.mark.anyio

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MESSAGES = [{"role": "user", "content": "héllo"}]
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hé", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    "kv_transfer_params": None,
}
USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[],'
    b'"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}\n\n'
)
STREAM = wire.role() + wire.text("hé") + wire.text(" there") + USAGE + wire.DONE


async def ask(scripted: Scripted, body: dict[str, Any], path: str = CHAT) -> Any:
    return await scripted.client.post(path, json={"model": "gpt-4o", "messages": MESSAGES, **body})


def sent(scripted: Scripted) -> Any:
    """Return the body of the newest request that is no list of models."""
    return next(request.json for request in reversed(scripted.model.requests) if request.method == "POST")


@pytest.fixture
def script(scripted: Scripted) -> Scripted:
    return scripted


async def test_an_answer_comes_through_byte_for_byte(script: Scripted) -> None:
    body = json.dumps(WHOLE, indent=1, ensure_ascii=False).encode()
    script.model.script.append(replies(200, body))
    answer = await ask(script, {})
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_every_field_is_passed_on_under_the_models_own_name(script: Scripted) -> None:
    script.model.script.append(replies(200, json.dumps(WHOLE).encode()))
    fields = {
        "temperature": 0.25,
        "n": 2,
        "logprobs": True,
        "stop": ["\n", "é"],
        "seed": 2**40,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "chat_template_kwargs": {"enable_thinking": False},
        "a_field_of_tomorrow": [1.0, None, {"é": 1e-7}],
    }
    await ask(script, {**fields, "metadata": {"desk": "gold"}, "store": False})
    assert sent(script) == {"model": "tiny", "messages": MESSAGES, **fields}


@pytest.mark.parametrize(
    ("options", "asked", "seen"),
    [
        ({}, {"include_usage": True}, False),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}, False),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}, True),
        (
            {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
            {"include_usage": True, "continuous_usage_stats": True},
            True,
        ),
    ],
)
async def test_a_stream_comes_through_byte_for_byte_but_for_a_usage_that_nobody_asked_for(
    script: Scripted, options: dict[str, Any], asked: dict[str, Any], seen: bool
) -> None:
    script.model.script.append(sends(STREAM[:40], STREAM[40:]))
    answer = await ask(script, {"stream": True, **options})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == (STREAM if seen else STREAM.replace(USAGE, b""))
    assert sent(script)["stream_options"] == asked


COMPLETED = {
    **{name: WHOLE[name] for name in ("id", "created", "model", "usage")},
    "object": "text_completion",
    "choices": [{"index": 0, "text": " upon", "finish_reason": "length", "logprobs": None}],
}
EMBEDDED = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
    "model": "tiny",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (COMPLETIONS, {"prompt": "Once", "echo": True}, COMPLETED),
        (EMBEDDINGS, {"input": ["a", "b"], "encoding_format": "float", "dimensions": 3}, EMBEDDED),
    ],
)
async def test_completions_and_embeddings_come_through_too(
    script: Scripted, path: str, body: dict[str, Any], told: dict[str, Any]
) -> None:
    script.model.script.append(replies(200, json.dumps(told).encode()))
    answer = await script.client.post(path, json={"model": "gpt-4o", **body})
    assert answer.content == json.dumps(told).encode()
    assert script.model.requests[-1].path == path
    assert sent(script) == {"model": "tiny", **body}


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "code", "param", "words"),
    [
        ("unknown model", 404, "invalid_request_error", "model_not_found", "model", "does not exist"),
        ("prompt too long", 400, "invalid_request_error", "context_length_exceeded", "messages", "maximum context"),
        ("no key or a wrong one", 500, "server_error", None, None, "MODEL_API_KEY"),
        ("queue full", 503, "service_unavailable_error", "rate_limit_exceeded", None, "busy"),
        ("engine died", 500, "server_error", None, None, "EngineCore"),
        ("image to a text model", 400, "invalid_request_error", None, None, "not a multimodal model"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_model_server_refuses_is_told_in_openais_envelope(
    script: Scripted,
    refusal: str,
    status: int,
    kind: str,
    code: str | None,
    param: str | None,
    words: str,
    stream: bool,
) -> None:
    script.model.script.append(replies(*REFUSALS[refusal]))
    answer = await ask(script, {"stream": stream})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"], error["param"]) == (status, kind, code, param)
    assert words in error["message"]
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_a_server_that_breaks_before_it_answers_is_503_and_nothing_is_retried_after_its_first_byte(
    script: Scripted,
) -> None:
    script.model.script.extend([resets(head=False)] * 2)
    answer = await ask(script, {})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "service_unavailable_error")
    script.model.requests.clear()
    script.model.script.append(cuts(wire.role(), wire.text("half")))
    answer = await ask(script, {"stream": True})
    assert answer.status_code == 200
    assert answer.content.startswith(wire.role() + wire.text("half"))
    *_, told, done = answer.content.split(b"\n\n")[:-1]
    assert (json.loads(told.removeprefix(b"data: "))["error"]["type"], done) == ("server_error", b"data: [DONE]")
    assert len([request for request in script.model.requests if request.method == "POST"]) == 1


async def test_an_error_inside_a_stream_is_told_in_openais_envelope(script: Scripted) -> None:
    script.model.script.append(sends(wire.role(), wire.died() + wire.DONE))
    answer = await ask(script, {"stream": True})
    *_, told, done = answer.content.split(b"\n\n")[:-1]
    error = json.loads(told.removeprefix(b"data: "))["error"]
    assert (error["type"], error["code"], done) == ("server_error", None, b"data: [DONE]")
    assert "EngineCore" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_frees_the_model_server_at_once(script: Scripted, stream: bool) -> None:
    script.model.script.append(stalls(wire.role()) if stream else stalls(head=False))
    asking = asyncio.create_task(ask(script, {"stream": stream}))
    exchange = await script.chat()
    await exchange.answered.wait()
    await asyncio.sleep(0.02)
    left_at = asyncio.get_running_loop().time()
    asking.cancel()
    assert await exchange.client_left() - left_at < 0.1


async def test_what_is_relayed_is_charged_to_its_key(script: Scripted) -> None:
    api, bootstrap = script.client, script.client.headers["Authorization"]
    made = await post(api, "/admin/keys", {"name": "relay", "scopes": ["chat"], "limits": {"tokens_per_day": 1000}})
    try:
        api.headers["Authorization"] = f"Bearer {made['key']}"
        script.model.script.extend([replies(200, json.dumps(WHOLE).encode()), sends(STREAM)])
        await ask(script, {})
        await ask(script, {"stream": True})
        used = (await api.get("/v1/usage")).json()["today"]
        assert (used["prompt_tokens"], used["completion_tokens"], used["runs"]) == (14, 4, 0)
        refused = await ask(script, {"max_tokens": 5000})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert (await api.get("/v1/assistants")).status_code == 403
    finally:
        api.headers["Authorization"] = bootstrap


async def test_a_key_for_some_models_is_relayed_to_no_other(script: Scripted) -> None:
    api, bootstrap = script.client, script.client.headers["Authorization"]
    made = await post(api, "/admin/keys", {"name": "narrow", "models": ["gpt-4o"]})
    try:
        api.headers["Authorization"] = f"Bearer {made['key']}"
        script.model.script.append(replies(200, json.dumps(WHOLE).encode()))
        refused = await ask(script, {"model": "tiny"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_found")
        assert (await ask(script, {})).status_code == 200
    finally:
        api.headers["Authorization"] = bootstrap


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages": []}', "model"),
        (b'{"model": 1, "messages": []}', "model"),
        (b'{"model": "tiny"}', "messages"),
        (b'{"model": "tiny", "messages": [], "stream": "yes"}', "stream"),
        (b'{"model": "tiny", "messages": [], "max_tokens": -1}', "max_tokens"),
        (b"[1]", None),
        (b"nonsense", None),
    ],
)
async def test_what_the_gateway_itself_must_read_is_refused_in_words(
    script: Scripted, body: bytes, param: str | None
) -> None:
    answer = await script.client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert [request for request in script.model.requests if request.method == "POST"] == []
