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
VALIDATION_ERROR = "Bad Request"  # vLLM's type for a body it cannot read; its other refusals are "BadRequestError"
TOO_LONG = ("context length", "context size", "max_model_len")
NO_ROOM = "must be at least 1, got 0"  # of max_tokens, which vLLM makes of a prompt as long as the window
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)  # msgspec lets the second one through for a broken string
RunErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


class ModelFailure(Exception):
    """The model server did not answer. `code` is what a run's last_error says."""

    code: ClassVar[RunErrorCode] = "server_error"
    kind: ClassVar[str] = "broke"
    """What metrics call it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ModelUnreachable(ModelFailure):
    """No connection could be made, or it broke before the answer began."""

    kind = "unreachable"


class ModelBusy(ModelFailure):
    """The server's own queue is full."""

    code = "rate_limit_exceeded"
    kind = "busy"


class ModelTimedOut(ModelFailure):
    """The server fell silent."""

    kind = "timed_out"


class ModelBroke(ModelFailure):
    """The server failed while it worked on the request."""


class PromptTooLong(ModelFailure):
    """The conversation does not fit the model's context window."""

    code = "invalid_prompt"
    kind = "prompt_too_long"


class ModelUnknown(ModelFailure):
    """The server does not serve this model."""

    kind = "unknown_model"


class ModelRefused(ModelFailure):
    """The server does not accept the request."""

    code = "invalid_prompt"
    kind = "refused"


def failure_of_answer(status: int, body: bytes) -> ModelFailure:
    """Translate an error answer, of vLLM or of any server with its shape."""
    return _failure_of(status, *_message_of(body))


def _failure_of(status: int, message: str, param: str | None) -> ModelFailure:
    if status == 401 or status == 403:
        return ModelBroke("The model server refused this server's key (MODEL_API_KEY).")
    if status in (429, 503):
        return ModelBusy(f"The model server is overloaded or loading: {message or 'try again later'}")
    if status == 404:
        return ModelUnknown(f"The model server answered 404: {message or 'is MODEL_URL right?'}")
    if status >= 500:
        return ModelBroke(f"The model server failed ({status}): {message or 'no reason given'}")
    if status == 400 and param == "max_tokens" and NO_ROOM in message:
        return PromptTooLong("The conversation fills the model's context window and leaves no room for an answer.")
    if status == 400 and _is_too_long(message, param):
        return PromptTooLong(message)
    return ModelRefused(f"The model server refused the request ({status}): {message or 'no reason given'}")


def names_a_model(body: bytes) -> bool:
    """Tell whether a refusal is about the model that was named, rather than the route."""
    return _message_of(body)[1] == "model"


def words_of_answer(body: bytes) -> tuple[str, str | None]:
    """Return what an error answer says, whole, and of which field: for the client whose request it quotes."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return "", None
    error = answer.get("error", answer.get("detail")) if isinstance(answer, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    return (words[:MESSAGE_LIMIT] if isinstance(words, str) else ""), _param_of(error)


def failure_of_event(error: Any) -> ModelFailure:
    """Translate an error inside a stream. Some refusals of vLLM come only there: a full queue, a bad schema."""
    words, status = _words_of(error), error.get("code") if isinstance(error, dict) else None
    if isinstance(status, int) and (400 <= status < 500 or status == 503):
        return _failure_of(status, words, _param_of(error))
    return ModelBroke(f"The model server failed while it answered: {words or 'no reason given'}")


def _message_of(body: bytes) -> tuple[str, str | None]:
    """Find the message and parameter in an error body: OpenAI's object, vLLM's bare string, or FastAPI's detail."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return "", None
    if not isinstance(answer, dict):
        return "", None
    error = answer.get("error", answer.get("detail"))
    return _words_of(error), _param_of(error)


def _words_of(error: Any) -> str:
    """Return what an error says. A validation error quotes what was sent, a prompt, so only its place is told."""
    if isinstance(error, dict):
        param = _param_of(error)
        if error.get("type") == VALIDATION_ERROR:
            return f"invalid {param}" if param else ""
        error = error.get("message")
    return error[:MESSAGE_LIMIT] if isinstance(error, str) else ""


def _param_of(error: Any) -> str | None:
    param = error.get("param") if isinstance(error, dict) else None
    return param if isinstance(param, str) else None


def _is_too_long(message: str, param: str | None) -> bool:
    text = message.lower()
    return param == "input_tokens" or any(words in text for words in TOO_LONG)
