"""The one renderer of errors: OpenAI's envelope, and the same inside a stream. Foreign errors are translated here."""

import logging
import math
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from app.errors import ApiError, InvalidRequest, MethodNotAllowed, NotFound
from app.kit.wire import Answer
from app.web.asgi import Send

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60
"""The most seconds that a client is asked to wait within a call: SDKs honour no more, and other clients would hang for
hours. What takes longer is told to nobody as a wait: the SDKs give up at once, and the message says when to return."""

INTERNAL = "The server had an error while processing your request. Give its request id to whoever runs the server."


class ErrorBody(Answer, kw_only=True, frozen=True):
    """What went wrong. All four fields are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(Answer, kw_only=True, frozen=True):
    """Every answer with a status of 400 or more."""

    error: ErrorBody


def envelope(error: ApiError) -> ErrorEnvelope:
    """Return an error as clients receive it."""
    body = ErrorBody(message=error.message, type=error.type, param=error.param, code=error.code)
    return ErrorEnvelope(error=body)


def error_event(error: ApiError) -> bytes:
    """Return an error as a stream's event. The wrapped form is the one that every SDK raises from."""
    return b"event: error\ndata: " + msgspec.json.encode(envelope(error)) + b"\n\n"


def headers_of(error: ApiError) -> dict[str, str]:
    """Return the headers that tell a client when to come back."""
    if error.retry_after_s is None:
        return {}
    wait_s = min(error.retry_after_s, LONGEST_WAIT_S)
    headers = {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}
    if error.retry_after_s > LONGEST_WAIT_S:
        headers["x-should-retry"] = "false"
    return headers


def answer_api_error(request: Request[Any, Any, Any], error: ApiError) -> Response[ErrorEnvelope]:
    """Render one of our own errors, and leave it where the layers around the framework find it."""
    request.scope["state"]["error"] = error
    return Response(envelope(error), status_code=error.status, headers=headers_of(error))


def answer_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[ErrorEnvelope]:
    """Render one of the framework's errors: unknown routes, wrong methods, parameters it could not read."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer_fault(request, error)
    answer = answer_api_error(request, translate(request.method, request.url.path, error))
    if isinstance(error, MethodNotAllowedException):
        answer.headers.update(error.headers or {})  # Allow, which RFC 9110 demands
    return answer


def translate(method: str, path: str, error: HTTPException) -> ApiError:
    """Turn a framework error that the client caused into ours."""
    if isinstance(error, NotFoundException):
        return NotFound(f"Invalid URL ({method} {path})")
    if isinstance(error, MethodNotAllowedException):
        return MethodNotAllowed(
            f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
            code="method_not_supported",
        )
    return InvalidRequest(str(error.detail))


def answer_fault(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorEnvelope]:
    """Render a fault of ours: it reveals nothing, and the log has it with the request id."""
    request_id = request.scope.get("state", {}).get("request_id", "")
    log.error("unhandled fault", extra={"request_id": request_id, "fault": type(error).__name__}, exc_info=error)
    return answer_api_error(request, ApiError(INTERNAL))


async def send_error(send: Send, error: ApiError) -> None:
    """Answer with an error from outside the framework."""
    body = msgspec.json.encode(envelope(error))
    headers = {"content-type": "application/json", "content-length": str(len(body)), **headers_of(error)}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


EXCEPTION_HANDLERS: dict[Any, Any] = {
    ApiError: answer_api_error,
    HTTPException: answer_http_exception,
    Exception: answer_fault,
}
