"""Every refusal of vLLM that the stand-in copies, with vLLM's status, type, param and wording."""

from typing import Any


class Refused(Exception):
    """A request that is answered with vLLM's error body instead of a completion."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None):
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param

    def body(self) -> dict[str, Any]:
        """Render the error as vLLM does: the code is the HTTP status as a number."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return {"error": error}


def refuse_value(message: str, param: str | None = None, value: object = None) -> Refused:
    """Refuse a bad value; vLLM appends what it knows of the parameter to the message."""
    known = [f"{name}={what}" for name, what in (("parameter", param), ("value", value)) if what is not None]
    suffix = f" ({', '.join(known)})" if known else ""
    return Refused(message + suffix, param=param)


def refuse_shape(reason: str, param: str | None) -> Refused:
    """Refuse a body that cannot be read; vLLM says 400 and "Bad Request" here, not 422."""
    return Refused(f"1 validation error:\n  {reason}", kind="Bad Request", param=param)


def refuse_missing(where: str) -> Refused:
    """Refuse a body that lacks a field, or that is not there at all."""
    return refuse_shape(str({"type": "missing", "loc": where, "msg": "Field required"}), where)


def refuse_media_type() -> Refused:
    """Refuse a content type other than JSON."""
    return refuse_shape("Unsupported Media Type: Only 'application/json' is allowed", None)


def refuse_model(asked: str, served: str) -> Refused:
    """Refuse a model name that is not served."""
    message = f"The model `{asked}` does not exist. Valid aliases: {served}."
    return Refused(message, status=404, kind="NotFoundError", param="model")


def refuse_full_queue() -> Refused:
    """Refuse for want of room in the queue; vLLM sends no Retry-After."""
    message = (
        "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance."
    )
    return Refused(message, status=503, kind="Service Unavailable")


def refuse_long_text(chars: int, chars_per_token: int, limit: int) -> Refused:
    """Refuse a text too long to be worth tokenizing."""
    most = limit * chars_per_token
    message = (
        f"This model's maximum context length is {limit} tokens. However, your prompt contains {chars} "
        f"characters (more than {most} characters, which is the upper bound for {limit} input tokens). "
        "Please reduce the length of the input prompt."
    )
    return refuse_value(message, "input_text", chars)


def refuse_long_prompt(prompt_tokens: int, limit: int) -> Refused:
    """Refuse a prompt that leaves no room; vLLM counts to one token past the limit, then says "at least"."""
    counted = min(prompt_tokens, limit + 1)
    qualifier = "at least " if counted > limit else ""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your prompt contains {qualifier}"
        f"{counted} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt."
    )
    return refuse_value(message, "input_tokens", counted)


def refuse_max_tokens(name: str, asked: int, limit: int) -> Refused:
    """Refuse an output limit beyond the context."""
    message = f"{name}={asked} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
    return refuse_value(message, name, asked)
