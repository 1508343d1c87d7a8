"""What of a request is open, which key it carries, how a wrong one is shown, and who gets through."""

from typing import Any

import pytest

from app.db.tables import DEFAULT_PROJECT
from app.errors import PermissionDenied, Unauthenticated
from app.keys.grant import SURFACES, Refusal
from app.keys.ring import KeyRing
from app.kit.caller import Caller
from app.web.auth import REFUSALS, Auth, is_open, masked, presented_key
from tests.fakes.clock import SetClock
from tests.fakes.keys import PEPPER, KeptKeys

pytestmark = pytest.mark.anyio

REQUEST = {"request_id": "req_1", "address": "10.0.0.1"}

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
        ([(b"cookie", b"Bearer abc"), (b"key", b"abc")], None),
        ([(b"api-key", b"azure")], b"azure"),
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


async def project_of(*args: Any, **options: Any) -> str:
    """Return the project that a request acts in."""
    caller: Caller = (await attempt(*args, **options))["caller"]
    return caller.project_id


async def attempt(
    api_key: str | None, path: str = "/v1/threads", *, kept: KeptKeys | None = None, **headers: bytes
) -> dict[str, Any]:
    """Send a request through; return the state that the app behind got."""
    reached: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.update(scope["state"])

    ring = KeyRing(kept or KeptKeys(), SetClock(), pepper=PEPPER, api_key=api_key)
    raw = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "state": dict(REQUEST)}
    unused: Any = None
    await Auth(app, ring=lambda: ring)(scope, unused, unused)
    return reached


async def test_the_bootstrap_key_reaches_the_app_as_the_default_project() -> None:
    state = await attempt(KEY, authorization=f"Bearer {KEY}".encode())
    assert state["grant"].key_id == "key_bootstrap"
    assert state["caller"] == Caller(
        project_id=DEFAULT_PROJECT, key_id="key_bootstrap", request_id="req_1", address="10.0.0.1"
    )


async def test_a_key_reaches_the_app_as_its_project() -> None:
    kept = KeptKeys()
    state = await attempt(None, kept=kept, x_api_key=kept.add())
    assert (state["caller"].project_id, state["grant"].scopes) == ("proj_a", frozenset(SURFACES))


async def test_a_project_is_taken_from_the_header_when_the_key_may() -> None:
    kept = KeptKeys()
    bearer = f"Bearer {KEY}".encode()
    assert await project_of(KEY, kept=kept, authorization=bearer, openai_project=b"proj_b") == "proj_b"
    assert await project_of(KEY, kept=kept, authorization=bearer, openai_project=b" ") == DEFAULT_PROJECT
    for project in (b"proj_b", b"proj_nowhere", b"\xff"):
        with pytest.raises(Unauthenticated) as refused:
            await attempt(None, kept=kept, x_api_key=kept.add(), openai_project=project)
        assert refused.value.code == "mismatched_project"
        assert refused.value.message == "OpenAI-Project header should match project for API key"


async def test_a_key_without_the_scope_reaches_nothing() -> None:
    kept = KeptKeys()
    with pytest.raises(PermissionDenied):
        await attempt(None, kept=kept, x_api_key=kept.add("chat"))
    with pytest.raises(PermissionDenied):
        await attempt(None, "/admin/keys", kept=kept, x_api_key=kept.add())


async def test_an_open_path_has_no_project() -> None:
    assert await attempt(KEY, "/health") == REQUEST


@pytest.mark.parametrize("presented", [KEY[:-1], KEY + "x", KEY.upper(), "", "None"])
@pytest.mark.parametrize("api_key", [KEY, None])
async def test_anything_else_is_refused(api_key: str | None, presented: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await attempt(api_key, authorization=f"Bearer {presented}".encode())
    assert KEY not in refused.value.message


async def test_no_key_and_a_wrong_key_are_told_apart() -> None:
    with pytest.raises(Unauthenticated) as without:
        await attempt(KEY)
    with pytest.raises(Unauthenticated) as wrong:
        await attempt(KEY, authorization=b"Bearer sk-some-other-key")
    assert (without.value.code, wrong.value.code) == (None, "invalid_api_key")
    assert wrong.value.message == "Incorrect API key provided: sk-***-key."


async def test_whoever_holds_a_secret_is_told_why_it_is_not_taken_but_never_the_secret() -> None:
    assert set(REFUSALS) == set(Refusal) - {Refusal.WRONG_PROJECT}
    kept = KeptKeys()
    key = kept.add(expires_at=0)
    with pytest.raises(Unauthenticated) as expired:
        await attempt(None, kept=kept, x_api_key=key)
    shown = f"sk-***{key[-4:].decode()}"
    assert (expired.value.message, expired.value.code) == (f"The API key {shown} has expired.", "invalid_api_key")


async def test_a_lifespan_passes_through() -> None:
    passed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    unused: Any = None
    await Auth(app, ring=lambda: unused)({"type": "lifespan"}, unused, unused)
    assert passed == ["lifespan"]
