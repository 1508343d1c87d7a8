"""What can go wrong at the model server, typed. Messages are for operators and clients: they carry no prompt.

ModelFailure
├── ModelUnreachable     no connection: refused, reset, timed out
├── ModelBusy            503 with a full queue, or 429
├── ModelTimedOut        no first token, or a stall between tokens
├── ModelBroke           5xx, an error event, a cut or unreadable stream, a dead engine
├── PromptTooLong        the prompt does not fit the context window
├── ModelUnknown         the server does not serve the model that was named
└── ModelRefused         any other 4xx: the server does not accept the request
"""

from typing import Any, ClassVar, Literal

import msgspec

MESSAGE_LIMIT = 500
RunErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


class ModelFailure(Exception):
    """The model server did not answer. `code` is what a run's last_error says."""

    code: ClassVar[RunErrorCode] = "server_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ModelUnreachable(ModelFailure):
    """No connection could be made, or it broke before the answer began."""


class ModelBusy(ModelFailure):
    """The server's own queue is full."""

    code = "rate_limit_exceeded"


class ModelTimedOut(ModelFailure):
    """The server fell silent."""


class ModelBroke(ModelFailure):
    """The server failed while it worked on the request."""


class PromptTooLong(ModelFailure):
    """The conversation does not fit the model's context window."""

    code = "invalid_prompt"


class ModelUnknown(ModelFailure):
    """The server does not serve this model."""


class ModelRefused(ModelFailure):
    """The server does not accept the request."""

    code = "invalid_prompt"


def failure_of_answer(status: int, body: bytes) -> ModelFailure:
    """Translate an error answer, of vLLM or of any server with its shape."""
    message, param = _message_of(body)
    if status == 401 or status == 403:
        return ModelBroke("The model server refused this server's key (MODEL_API_KEY).")
    if status in (429, 503):
        return ModelBusy(f"The model server is overloaded or loading: {message or 'try again later'}")
    if status == 404:
        return ModelUnknown(f"The model server answered 404: {message or 'is MODEL_URL right?'}")
    if status >= 500:
        return ModelBroke(f"The model server failed ({status}): {message or 'no reason given'}")
    if status == 400 and _is_too_long(message, param):
        return PromptTooLong(message)
    return ModelRefused(f"The model server refused the request ({status}): {message or 'no reason given'}")


def failure_of_event(error: Any) -> ModelFailure:
    """Translate an error that arrived inside a stream, after HTTP 200."""
    message = error.get("message") if isinstance(error, dict) else error
    return ModelBroke(f"The model server failed while it answered: {str(message)[:MESSAGE_LIMIT]}")


def _message_of(body: bytes) -> tuple[str, str | None]:
    """Find the message and parameter in an error body: OpenAI's object, vLLM's bare string, or FastAPI's detail."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return "", None
    if not isinstance(answer, dict):
        return "", None
    error = answer.get("error", answer.get("detail"))
    if isinstance(error, dict):
        param = error.get("param")
        return str(error.get("message", ""))[:MESSAGE_LIMIT], param if isinstance(param, str) else None
    return str(error or "")[:MESSAGE_LIMIT], None


def _is_too_long(message: str, param: str | None) -> bool:
    text = message.lower()
    return param in ("input_tokens", "max_tokens") or "context length" in text or "context size" in text
