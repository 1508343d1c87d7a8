"""What of a request is open, which key it carries, how a wrong one is shown, and who gets through."""

import asyncio
from typing import Any

import pytest

from app.db.tables import DEFAULT_PROJECT
from app.errors import Unauthenticated
from app.web.auth import Auth, is_open, masked, presented_key

KEY = "sk-the-right-key"


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/health/",
        "/health/live",
        "/health/ready",
        "/docs",
        "/docs/",
        "/redoc",
        "/openapi.json",
        "/docs/assets/a.css",
    ],
)
def test_health_and_docs_are_open(path: str) -> None:
    assert is_open(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/v1",
        "/v1/threads",
        "/Health",
        "/healthy",
        "/health/x",
        "/docsx",
        "/redoc/x",
        "/openapi.json/x",
        "//docs/",
        "/v1/docs/",
    ],
)
def test_nothing_else_is(path: str) -> None:
    assert not is_open(path)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bEARER  abc ")], b"abc"),
        ([(b"authorization", b"Bearer two words")], b"two words"),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"abc")], None),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"x-api-key", b"abc")], b"abc"),
        ([(b"x-api-key", b" ")], None),
        ([(b"x-api-key", b"old"), (b"authorization", b"Bearer new")], b"new"),
        ([(b"authorization", b"Bearer new"), (b"x-api-key", b"old")], b"new"),
        ([(b"authorization", b"Basic abc"), (b"x-api-key", b"old")], b"old"),
        ([(b"cookie", b"Bearer abc"), (b"api-key", b"abc")], None),
    ],
)
def test_a_key_is_a_bearer_token_or_comes_by_name(headers: list[tuple[bytes, bytes]], key: bytes | None) -> None:
    assert presented_key(headers) == key


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"sk-abcdefghijkl", "sk-***ijkl"),
        (b"abcdefghijkl", "abc***ijkl"),
        (b"abcdefghijk", "***"),
        (b"", "***"),
        (b"\xff" * 20, "\ufffd\ufffd\ufffd***\ufffd\ufffd\ufffd\ufffd"),
    ],
)
def test_a_key_is_shown_by_its_ends_only_if_it_is_long(key: bytes, shown: str) -> None:
    assert masked(key) == shown


def attempt(api_key: str | None, path: str = "/v1/threads", **headers: bytes) -> dict[str, Any]:
    """Send a request through; return the state that the app behind got."""
    reached: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.update(scope["state"])

    raw = [(name.encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "headers": raw, "state": {"reached": True}}
    unused: Any = None
    asyncio.run(Auth(app, api_key=api_key)(scope, unused, unused))
    return reached


def test_the_right_key_reaches_the_app_as_its_project() -> None:
    assert attempt(KEY, authorization=f"Bearer {KEY}".encode())["project_id"] == DEFAULT_PROJECT


def test_an_open_path_has_no_project() -> None:
    assert attempt(KEY, "/health") == {"reached": True}


@pytest.mark.parametrize("presented", [KEY[:-1], KEY + "x", KEY.upper(), "", "None"])
@pytest.mark.parametrize("api_key", [KEY, None])
def test_anything_else_is_refused(api_key: str | None, presented: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        attempt(api_key, authorization=f"Bearer {presented}".encode())
    assert KEY not in refused.value.message


def test_no_key_and_a_wrong_key_are_told_apart() -> None:
    with pytest.raises(Unauthenticated) as without:
        attempt(KEY)
    with pytest.raises(Unauthenticated) as wrong:
        attempt(KEY, authorization=b"Bearer sk-some-other-key")
    assert (without.value.code, wrong.value.code) == (None, "invalid_api_key")
    assert wrong.value.message == "Incorrect API key provided: sk-***-key."


def test_a_lifespan_passes_through() -> None:
    passed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    unused: Any = None
    asyncio.run(Auth(app, api_key=KEY)({"type": "lifespan"}, unused, unused))
    assert passed == ["lifespan"]
