"""Bodies by their stated length and by what really comes; the first byte beyond the limit ends it."""

import asyncio
from typing import Any

import pytest

from app.errors import InvalidRequest, PayloadTooLarge
from app.web.body_limit import BodyLimit

LIMIT = 10


def send_body(*pieces: bytes, length: bytes | None = None) -> tuple[bytes, int]:
    """Send a body in pieces; return what the app behind read, and how many pieces were taken off the wire."""
    read: list[bytes] = []
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        taken += 1
        return waiting.pop(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            read.append(message["body"])
            if not message["more_body"]:
                return

    headers = [] if length is None else [(b"content-length", length)]
    unused: Any = None
    asyncio.run(BodyLimit(app, limit_bytes=LIMIT)({"type": "http", "headers": headers}, receive, unused))
    return b"".join(read), taken


@pytest.mark.parametrize("pieces", [(b"x" * 10,), (b"x" * 5, b"x" * 5), (b"x",) * 10, ()])
def test_a_body_on_the_limit_passes(pieces: tuple[bytes, ...]) -> None:
    whole = b"".join(pieces)
    assert send_body(*pieces)[0] == whole
    assert send_body(*pieces, length=str(len(whole)).encode())[0] == whole


@pytest.mark.parametrize("pieces", [(b"x" * 11,), (b"x" * 5, b"x" * 6), (b"x",) * 11])
def test_a_body_that_grows_beyond_it_is_refused(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(PayloadTooLarge) as refused:
        send_body(*pieces)
    assert refused.value.message == "Request body too large. Expected at most 10 bytes."
    assert refused.value.code == "request_too_large"


def test_a_length_that_is_stated_too_small_does_not_help() -> None:
    with pytest.raises(PayloadTooLarge):
        send_body(b"x" * 11, length=b"3")


def test_a_body_that_says_that_it_is_too_large_is_not_read_at_all() -> None:
    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the app was asked")

    unused: Any = None
    scope = {"type": "http", "headers": [(b"content-length", b"11")]}
    with pytest.raises(PayloadTooLarge):
        asyncio.run(BodyLimit(app, limit_bytes=LIMIT)(scope, receive, unused))


@pytest.mark.parametrize("length", [b"", b"ten", b"1e1", b"\xff"])
def test_a_length_that_is_no_number_is_refused(length: bytes) -> None:
    with pytest.raises(InvalidRequest, match="Invalid 'Content-Length' header"):
        send_body(length=length)


def test_other_messages_and_scopes_pass_through() -> None:
    got: list[str] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append((await receive())["type"])

    unused: Any = None
    limited = BodyLimit(app, limit_bytes=LIMIT)
    asyncio.run(limited({"type": "http", "headers": []}, receive, unused))
    asyncio.run(limited({"type": "lifespan"}, receive, unused))
    assert got == ["http.disconnect", "http.disconnect"]
