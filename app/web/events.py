"""Server-sent events: the framing, and a stream that ends with an error event when something breaks."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from litestar.response import Stream

from app.errors import ApiError
from app.web.errors import INTERNAL, error_event

log = logging.getLogger(__name__)

PING = b": ping\n\n"
DONE = b"event: done\ndata: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"  # the framework adds the charset
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def frame(name: bytes, data: bytes) -> bytes:
    """Return one event. `data` is JSON, which has no line breaks."""
    return b"event: " + name + b"\ndata: " + data + b"\n\n"


def event_stream(frames: AsyncGenerator[bytes, None], headers: Mapping[str, str] | None = None) -> Stream:
    """Answer with events as they come."""
    return Stream(_guarded(frames), media_type=MEDIA_TYPE, headers={**HEADERS, **(headers or {})}, status_code=200)


async def _guarded(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(frames):
        try:
            async for data in frames:
                yield data
        except ApiError as error:
            yield error_event(error)
        except Exception:
            log.exception("a stream broke")
            yield error_event(ApiError(INTERNAL))
