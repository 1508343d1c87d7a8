"""Every error a client can meet. Imports nothing of ours and no framework; web/errors.py renders them.

ApiError                      500 server_error
├── InvalidRequest            400 invalid_request_error
├── Unauthenticated           401 invalid_request_error
├── PermissionDenied          403 invalid_request_error
├── NotFound                  404 invalid_request_error
├── MethodNotAllowed          405 invalid_request_error
├── RequestTimeout            408 invalid_request_error
├── PayloadTooLarge           413 invalid_request_error
├── UriTooLong                414 invalid_request_error
├── UnsupportedMediaType      415 invalid_request_error
├── HeadTooLarge              431 invalid_request_error
├── RateLimited               429 rate_limit_error
│   └── InsufficientQuota     429 insufficient_quota
└── Unavailable               503 service_unavailable_error
"""

from typing import ClassVar


class ApiError(Exception):
    """An error with the four fields of OpenAI's envelope."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class InvalidRequest(ApiError):
    """The request cannot be carried out as it stands."""

    status = 400
    type = "invalid_request_error"


class Unauthenticated(ApiError):
    """No key, or a wrong one."""

    status = 401
    type = "invalid_request_error"


class PermissionDenied(ApiError):
    """The key is right and may not do this."""

    status = 403
    type = "invalid_request_error"


class NotFound(ApiError):
    """No such object, or no such route."""

    status = 404
    type = "invalid_request_error"


class MethodNotAllowed(ApiError):
    """The route exists and does not take this method."""

    status = 405
    type = "invalid_request_error"


class RequestTimeout(ApiError):
    """The request did not arrive in time."""

    status = 408
    type = "invalid_request_error"


class PayloadTooLarge(ApiError):
    """The body is larger than BODY_LIMIT_BYTES."""

    status = 413
    type = "invalid_request_error"


class UriTooLong(ApiError):
    """The address asked for is too long."""

    status = 414
    type = "invalid_request_error"


class UnsupportedMediaType(ApiError):
    """The body is not of a type that the route reads."""

    status = 415
    type = "invalid_request_error"


class HeadTooLarge(ApiError):
    """There are too many headers, or too large ones."""

    status = 431
    type = "invalid_request_error"


class RateLimited(ApiError):
    """Too much at once; clients retry after `retry_after_s`."""

    status = 429
    type = "rate_limit_error"


class InsufficientQuota(RateLimited):
    """The tokens of a day or a month are used up."""

    type = "insufficient_quota"


class Unavailable(ApiError):
    """The server cannot do this now; clients retry after `retry_after_s`."""

    status = 503
    type = "service_unavailable_error"
