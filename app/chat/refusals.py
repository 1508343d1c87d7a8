"""The refusals and failures of the model server as errors of ours, in its own words where clients may read them."""

from typing import Any

import msgspec

from app.errors import ApiError, InvalidRequest, NotFound, PayloadTooLarge, Unavailable
from app.inference.failures import (
    ModelBroke,
    ModelBusy,
    ModelFailure,
    ModelTimedOut,
    ModelUnreachable,
    PromptTooLong,
    failure_of_answer,
    words_of_answer,
)
from app.web.errors import envelope

RETRY_AFTER_S = 5


def error_of_answer(status: int, body: bytes) -> ApiError:
    """Turn an answer that is no success into what the client is told.

    A validation error's words quote what the client sent; they go back to it, and nowhere else.
    """
    failure = failure_of_answer(status, body)
    message, param = words_of_answer(body)
    match failure:
        case PromptTooLong():
            return InvalidRequest(failure.message, param="messages", code="context_length_exceeded")
        case ModelBusy() | ModelBroke():
            return error_of_failure(failure)
    words = message or failure.message
    if status == 404:
        return NotFound(words, param=param, code="model_not_found")
    if status == 413:
        return PayloadTooLarge(words, code="request_too_large")
    return InvalidRequest(words, param=_ours(param), code="invalid_value" if param else None)


def error_of_failure(failure: ModelFailure) -> ApiError:
    """Turn a failure into what the client is told."""
    match failure:
        case PromptTooLong():
            return InvalidRequest(failure.message, param="messages", code="context_length_exceeded")
        case ModelBusy():
            return Unavailable(failure.message, code="rate_limit_exceeded", retry_after_s=RETRY_AFTER_S)
        case ModelUnreachable() | ModelTimedOut():
            return Unavailable(failure.message, retry_after_s=RETRY_AFTER_S)
        case _:
            return ApiError(failure.message)


def error_in_stream(error: Any) -> bytes:
    """Return the model server's error in a stream as the JSON of ours: clients raise from the wrapped form."""
    status = error.get("code") if isinstance(error, dict) else None
    body = msgspec.json.encode({"error": error})
    told = error_of_answer(status if isinstance(status, int) else 500, body)
    return msgspec.json.encode(envelope(told))


def _ours(param: str | None) -> str | None:
    """Name a field as clients know it: vLLM puts `body.` before it."""
    return param.removeprefix("body.") if param else None
