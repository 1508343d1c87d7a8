"""The bodies of answers that are not streamed, with every null field that vLLM leaves in, in its order."""

from collections.abc import Sequence
from typing import Any

from ops.standin.answers import Answer
from ops.standin.identity import SYSTEM_FINGERPRINT, Identity, count_full_usage
from ops.standin.logprobs import describe_chat_tokens, describe_completion_tokens
from ops.standin.wire import ChatRequest, CompletionRequest


def build_chat_body(identity: Identity, request: ChatRequest, answer: Answer, prompt_tokens: int) -> dict[str, Any]:
    """Build a chat completion of as many equal choices as were asked for."""
    choices = [_build_chat_choice(index, request, answer) for index in range(request.choices)]
    return {
        "id": identity.id,
        "object": "chat.completion",
        "created": identity.created,
        "model": identity.model,
        "choices": choices,
        "service_tier": None,
        "system_fingerprint": SYSTEM_FINGERPRINT,
        "usage": count_full_usage(prompt_tokens, answer.tokens * request.choices),
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


def build_completion_body(
    identity: Identity,
    request: CompletionRequest,
    prompts: Sequence[str],
    answers: Sequence[Answer],
    prompt_tokens: int,
) -> dict[str, Any]:
    """Build a text completion: the choices of every prompt, one prompt after the other."""
    pairs = [pair for pair in zip(prompts, answers, strict=True) for _ in range(request.choices)]
    completion_tokens = sum(answer.tokens for _, answer in pairs)
    return {
        "id": identity.id,
        "object": "text_completion",
        "created": identity.created,
        "model": identity.model,
        "choices": [
            _build_completion_choice(index, request, prompt, answer) for index, (prompt, answer) in enumerate(pairs)
        ],
        "service_tier": None,
        "system_fingerprint": SYSTEM_FINGERPRINT,
        "usage": count_full_usage(prompt_tokens, completion_tokens),
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


def _build_chat_choice(index: int, request: ChatRequest, answer: Answer) -> dict[str, Any]:
    logprobs = describe_chat_tokens(answer.pieces, request.top_logprobs or 0) if request.logprobs else None
    return {
        "index": index,
        "message": _build_message(answer),
        "logprobs": logprobs,
        "finish_reason": answer.named_finish,
        "stop_reason": answer.stop_reason,
        "token_ids": None,
        "routed_experts": None,
    }


def _build_message(answer: Answer) -> dict[str, Any]:
    """Build the message; calls leave its content null, or empty where the request forced them."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
    }
    if answer.calls:
        message["content"] = None if answer.call_style == "auto" else ""
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
    message["reasoning"] = None
    return message


def _build_completion_choice(index: int, request: CompletionRequest, prompt: str, answer: Answer) -> dict[str, Any]:
    logprobs = None
    if request.logprobs is not None:
        logprobs = describe_completion_tokens(answer.pieces, request.logprobs, 0)
    return {
        "index": index,
        "text": prompt + answer.text if request.echo else answer.text,
        "logprobs": logprobs,
        "finish_reason": answer.finish_reason,
        "stop_reason": answer.stop_reason,
        "token_ids": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "routed_experts": None,
    }
