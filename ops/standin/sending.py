"""Sending answers: JSON bodies, and the frames of a stream as their tokens come due."""

from typing import Any

import msgspec
from aiohttp import web

from ops.standin.engine import Engine, Job
from ops.standin.frames import Frame

_SERVER = {"Server": "uvicorn"}
_STREAM_HEADERS = {**_SERVER, "Content-Type": "text/event-stream; charset=utf-8"}
_JSON_HEADERS = {**_SERVER, "Content-Type": "application/json"}


def send_json(body: Any, status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, headers=_JSON_HEADERS)


def send_text(text: str, content_type: str) -> web.Response:
    """Answer with text of some kind."""
    return web.Response(body=text.encode(), headers={**_SERVER, "Content-Type": content_type})


def send_nothing() -> web.Response:
    """Answer with an empty body."""
    return web.Response(headers=_SERVER)


async def stream(request: web.Request, engine: Engine, job: Job, frames: list[Frame]) -> web.StreamResponse:
    """Stream the frames: at once as one chunked write, or each when its token is due."""
    if engine.config.is_instant:
        await engine.complete(job)
        whole = web.Response(body=b"".join(frames), headers=_STREAM_HEADERS)
        whole.enable_chunked_encoding()
        return whole
    response = web.StreamResponse(headers=_STREAM_HEADERS)
    response.enable_chunked_encoding()
    # As in vLLM, the status goes out before the request gets its slot.
    await response.prepare(request)
    async with engine.run(job) as turn:
        done = 0
        while done < len(frames):
            ready = await turn.wait_beyond(done)
            if due := b"".join(frames[done:ready]):
                await response.write(due)
            done = ready
    await response.write_eof()
    return response
