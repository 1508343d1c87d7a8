"""The bytes of a vLLM 0.32 answer: chunks of a stream, and the error bodies of every refusal. No server here."""

import json
from collections.abc import Mapping
from typing import Any

MODEL = "tiny"
PROMPT_TOKENS = 11
DONE = b"data: [DONE]\n\n"
MAX_MODEL_LEN = 2048
SECRET = "the-prompt-that-nobody-may-see"
"""What vLLM echoes of a request in a validation error."""

_HEAD: dict[str, Any] = {"id": "chatcmpl-a1", "object": "chat.completion.chunk", "created": 1_700_000_000}


def event(payload: object) -> bytes:
    """Render one event of the stream."""
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """Render a chunk with one choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
    if finish is not None:
        choice["stop_reason"] = None
    return event(_HEAD | {"model": MODEL, "choices": [choice]} | more)


def role() -> bytes:
    """Render the first chunk."""
    return chunk({"role": "assistant", "content": ""}, prompt_token_ids=None, prompt_text=None)


def text(piece: str) -> bytes:
    """Render a chunk of text."""
    return chunk({"content": piece})


def finish(reason: str = "stop", **delta: Any) -> bytes:
    """Render the last chunk with a choice."""
    return chunk(delta, reason)


def usage(completion_tokens: int | None, prompt_tokens: int = PROMPT_TOKENS) -> bytes:
    """Render the chunk that `include_usage` asks for."""
    counts = {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + (completion_tokens or 0),
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": None,
    }
    return event(_HEAD | {"model": MODEL, "choices": [], "usage": counts, "system_fingerprint": "vllm-0.32.0"})


def answer(*pieces: str, reason: str = "stop") -> bytes:
    """Render a whole stream."""
    return b"".join([role(), *map(text, pieces), finish(reason), usage(len(pieces)), DONE])


def died() -> bytes:
    """Render what a stream says when the engine dies under it."""
    return event(error("EngineCore encountered an issue.", "InternalServerError", None, 500))


def models(*names: str, max_model_len: int | None = MAX_MODEL_LEN) -> bytes:
    """Render /v1/models."""
    listed = [
        {
            "id": name,
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "vllm",
            "root": name,
            "parent": None,
            "max_model_len": max_model_len,
            "permission": [{"id": "modelperm-1", "object": "model_permission", "allow_sampling": True}],
        }
        for name in names
    ]
    return json.dumps({"object": "list", "data": listed}).encode()


def error(message: str, kind: str, param: str | None, code: int) -> dict[str, Any]:
    """Return vLLM's error object: the code is the status as a number."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _bad(message: str, param: str | None) -> tuple[int, bytes]:
    return 400, json.dumps(error(message, "BadRequestError", param, 400)).encode()


def _invalid(message: str, param: str | None) -> tuple[int, bytes]:
    return 400, json.dumps(error(f"1 validation error:\n  {message}", "Bad Request", param, 400)).encode()


REFUSALS: dict[str, tuple[int, bytes]] = {
    "no key or a wrong one": (401, b'{"error":"Unauthorized"}'),
    "unknown model": (
        404,
        json.dumps(
            error("The model `nope` does not exist. Valid aliases: tiny.", "NotFoundError", "model", 404)
        ).encode(),
    ),
    "prompt too long": _bad(
        "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, "
        "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. "
        "(parameter=input_tokens, value=2049)",
        "input_tokens",
    ),
    "prompt too long to be counted": _bad(
        "This model's maximum context length is 2048 tokens. However, your prompt contains 70000 characters (more "
        "than 65536 characters, which is the upper bound for 2048 input tokens). Please reduce the length of the "
        "input prompt. (parameter=input_text, value=70000)",
        "input_text",
    ),
    "max_tokens over the window": _bad(
        "max_tokens=5000 cannot be greater than max_model_len=2048. Please request fewer output tokens. "
        "(parameter=max_tokens, value=5000)",
        "max_tokens",
    ),
    "temperature negative": _bad(
        "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)", "temperature"
    ),
    "temperature too high": _bad(
        "temperature must be in [0, 2], got 3.0. (parameter=temperature, value=3.0)", "temperature"
    ),
    "top_p zero": _bad("top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)", "top_p"),
    "max_tokens zero": _bad("max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", "max_tokens"),
    "n zero": _bad("n must be at least 1, got 0.", None),
    "n with greedy sampling": _bad("n must be 1 when using greedy sampling, got 2.", None),
    "wrong type": _invalid(
        f"{{'type': 'list_type', 'loc': 'body.messages', 'msg': 'Input should be a valid list', 'input': '{SECRET}'}}",
        "body.messages",
    ),
    "bad JSON": _invalid(
        "{'type': 'json_invalid', 'loc': 'body.1', 'msg': 'JSON decode error', 'input': {}, "
        "'ctx': {'error': 'Expecting property name enclosed in double quotes'}}",
        "body.1",
    ),
    "content type not JSON": _invalid("Unsupported Media Type: Only 'application/json' is allowed", None),
    "empty messages": _bad("Cannot apply chat template to an empty conversation. Provide at least one message.", None),
    "stream options without stream": _bad(
        "Stream options can only be defined when `stream=True`. (parameter=stream_options)", "stream_options"
    ),
    "image to a text model": _bad("tiny is not a multimodal model", None),
    "bad schema": _bad("Grammar error: Invalid type: nonsense", None),
    "queue full": (
        503,
        json.dumps(
            error(
                "The engine is currently busy and cannot accept new requests. Please try again later or on a "
                "different instance.",
                "Service Unavailable",
                None,
                503,
            )
        ).encode(),
    ),
    "engine died": (
        500,
        json.dumps(error("EngineCore encountered an issue.", "InternalServerError", None, 500)).encode(),
    ),
    "unknown path": (404, b'{"detail":"Not Found"}'),
    "wrong method": (405, b'{"detail":"Method Not Allowed"}'),
}
"""The error table of a real vLLM, row by row: status and exact body."""
