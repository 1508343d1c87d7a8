"""Pages of named origins may read answers, refusals included; pages of others may not, and never with credentials."""

import asyncio
from typing import Any

import pytest

from app.errors import RateLimited
from app.web.cors import Cors

ORIGIN = b"https://desk.test"


def answer_to(
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    origins: tuple[str, ...] = ("https://desk.test",),
    fault: Exception | None = None,
    begun: bool = False,
) -> tuple[int, dict[bytes, bytes], bool]:
    """Return status and headers of an answer, and whether the app behind was asked."""
    sent: list[Any] = []
    asked = False

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked = True
        if fault is None or begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"x")]})
        if fault is not None:
            raise fault
        await send({"type": "http.response.body", "body": b""})

    unused: Any = None
    scope = {"type": "http", "method": method, "headers": list(headers)}
    asyncio.run(Cors(app, origins=origins)(scope, unused, send))
    (start,) = [message for message in sent if message["type"] == "http.response.start"]
    return start["status"], dict(start["headers"]), asked


def marks(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in headers.items() if name.startswith(b"access-control-")}


def test_an_answer_is_marked_for_the_origin_that_asked() -> None:
    status, headers, asked = answer_to((b"origin", ORIGIN))
    assert (status, asked) == (200, True)
    assert headers[b"access-control-allow-origin"] == ORIGIN
    assert b"retry-after" in headers[b"access-control-expose-headers"]
    assert headers[b"vary"] == b"Origin"
    assert headers[b"content-type"] == b"x"


def test_a_slash_at_the_end_of_a_setting_is_no_part_of_an_origin() -> None:
    _, headers, _ = answer_to((b"origin", ORIGIN), origins=("https://desk.test/",))
    assert headers[b"access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [b"https://other.test", b"http://desk.test", b"https://desk.test:8443", b"https://desk.test/", b"null", b""],
)
def test_others_are_answered_without_marks(origin: bytes) -> None:
    _, headers, asked = answer_to((b"origin", origin))
    assert (marks(headers), asked) == ({}, True)


def test_without_an_origin_nothing_is_marked() -> None:
    assert marks(answer_to()[1]) == {}


def test_a_star_marks_for_everybody_and_still_without_credentials() -> None:
    _, headers, _ = answer_to((b"origin", b"https://any.test"), origins=("*",))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in headers


def test_a_preflight_is_answered_before_any_key_is_asked_for() -> None:
    wanted = (b"access-control-request-method", b"DELETE"), (b"access-control-request-headers", b"x-a, x-b")
    status, headers, asked = answer_to((b"origin", ORIGIN), *wanted, method="OPTIONS")
    assert (status, asked) == (204, False)
    assert headers[b"access-control-allow-headers"] == b"x-a, x-b"
    assert b"DELETE" in headers[b"access-control-allow-methods"]
    assert headers[b"access-control-max-age"].isdigit()


def test_a_preflight_that_names_no_headers_is_allowed_the_usual_ones() -> None:
    _, headers, _ = answer_to((b"origin", ORIGIN), (b"access-control-request-method", b"POST"), method="OPTIONS")
    assert headers[b"access-control-allow-headers"] == b"authorization, content-type"


def test_what_is_no_preflight_reaches_the_app() -> None:
    assert answer_to((b"origin", ORIGIN), method="OPTIONS")[2]
    assert answer_to((b"access-control-request-method", b"POST"), method="OPTIONS")[2]


def test_a_refusal_can_be_read_too() -> None:
    status, headers, _ = answer_to((b"origin", ORIGIN), fault=RateLimited("Later.", retry_after_s=3))
    assert (status, headers[b"retry-after"]) == (429, b"3")
    assert headers[b"access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("fault", [RateLimited("Later."), RuntimeError("x")], ids=["ours", "unknown"])
def test_what_cannot_be_answered_here_goes_on_up(fault: Exception) -> None:
    with pytest.raises(type(fault)):
        answer_to((b"origin", ORIGIN), fault=fault, begun=True)


def test_a_lifespan_passes_through() -> None:
    passed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    unused: Any = None
    asyncio.run(Cors(app, origins=("*",))({"type": "lifespan"}, unused, unused))
    assert passed == ["lifespan"]
