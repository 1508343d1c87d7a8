"""What every answer says of itself: its id, when it was made, and by which model and version."""

import os
import time

import msgspec
from aiohttp import web

IMITATED_VERSION = "0.32.0"
SYSTEM_FINGERPRINT = f"vllm-{IMITATED_VERSION}-standin"


class Identity(msgspec.Struct, frozen=True):
    """The id, time and model of one answer."""

    id: str
    created: int
    model: str


def identify_answer(prefix: str, request: web.Request, model: str) -> Identity:
    """Name an answer; a caller's X-Request-Id becomes the id, as in vLLM."""
    suffix = request.headers.get("X-Request-Id") or os.urandom(8).hex()
    return Identity(id=f"{prefix}-{suffix}", created=int(time.time()), model=model)


def count_usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Give the usage that a stream reports."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def count_full_usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int | None]:
    """Give the usage of an answer that is not streamed: vLLM leaves its nulls in."""
    details = {"prompt_tokens_details": None, "completion_tokens_details": None}
    return {**count_usage(prompt_tokens, completion_tokens), **details}
