"""What every answer says to a browser, whose request the log has, and that nothing of a client's comes back as ours."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.main import create_app
from app.settings import load_settings
from tests.conformance.checker import Checker
from tests.fixtures.calls import new_assistant
from tests.fixtures.lifespan import started
from tests.fixtures.rooms import served
from tests.fixtures.servers import API_KEY

pytestmark = pytest.mark.anyio

GUARDS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
ORIGIN = "https://desk.test"
SDK_HEADERS = (
    "authorization,content-type,openai-beta,openai-organization,openai-project,x-stainless-arch,x-stainless-lang,"
    "x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,x-stainless-timeout"
)
READ_BY_CLIENTS = {
    "x-request-id",
    "openai-poll-after-ms",
    "retry-after",
    "retry-after-ms",
    *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/assistants", 200),
        ("POST", "/v1/assistants", 400),
        ("GET", "/v1/nowhere", 404),
        ("PUT", "/v1/assistants", 405),
        ("GET", "/health/live", 200),
        ("GET", "/openapi.json", 200),
    ],
)
async def test_every_answer_guards_a_browser(shared_api: Any, method: str, path: str, status: int) -> None:
    answer = await shared_api.request(method, path, content="{" if method == "POST" else None)
    assert answer.status_code == status
    for name, value in GUARDS.items():
        assert answer.headers.get_list(name) == [value]


async def test_a_refusal_of_the_edge_and_a_stream_guard_a_browser_too(shared_api: Any) -> None:
    refused = await shared_api.get("/v1/assistants", headers={"Authorization": ""})
    assert refused.status_code == 401
    body = {"assistant_id": await new_assistant(shared_api), "stream": True}
    streamed = await shared_api.post("/v1/threads/runs", json=body)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    for answer in (refused, streamed):
        assert {name: answer.headers[name] for name in GUARDS} == GUARDS


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/assets/pages.css"])
async def test_pages_keep_headers_of_their_own(shared_api: Any, path: str) -> None:
    answer = await shared_api.get(path)
    for name in GUARDS:
        assert len(answer.headers.get_list(name)) == 1
    assert answer.headers["cache-control"] != "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    if not path.endswith(".css"):
        assert "script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["X-Request-Id", "X-Client-Request-Id"])
async def test_a_request_id_of_the_clients_is_not_taken_over(
    shared_api: Any, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    hostile = "req_<script>alert(1)</script>"
    with caplog.at_level(logging.INFO):
        answer = await shared_api.get("/v1/assistants", headers={name: hostile})
    assert answer.headers["x-request-id"].startswith("req_")
    assert hostile not in str(answer.headers) + answer.text + str([vars(record) for record in caplog.records])


async def logged_address(client: Any, caplog: pytest.LogCaptureFixture, *forwarded: str) -> object:
    """Return whose request it was, as the log has it."""
    with caplog.at_level(logging.INFO, logger="app.access"):
        headers = [("X-Forwarded-For", line) for line in forwarded]
        answer = await client.get("/health/live", headers=headers)
    [record] = [one for one in caplog.records if vars(one).get("request_id") == answer.headers["x-request-id"]]
    return vars(record)["address"]


async def test_nobody_chooses_an_address_of_their_own(shared_api: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert await logged_address(shared_api, caplog, "198.51.100.1") == "127.0.0.1"


async def test_a_trusted_proxy_is_believed_and_what_it_was_told_is_not(
    conformance: Checker, tmp_path: Path, stand_in_url: str, caplog: pytest.LogCaptureFixture, anyio_backend: str
) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "MODEL_URL": stand_in_url}
    async with served(conformance, TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8", **env) as api:
        assert await logged_address(api.client, caplog, "203.0.113.9, 198.51.100.1") == "198.51.100.1"
        assert await logged_address(api.client, caplog, "203.0.113.9", "198.51.100.1, 10.1.1.1") == "198.51.100.1"
        assert await logged_address(api.client, caplog) == "127.0.0.1"


@pytest.fixture
async def from_pages(tmp_path: Path, stand_in_url: str, anyio_backend: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of an API that pages of one origin may call."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "MODEL_URL": stand_in_url}
    app = create_app(load_settings({"API_KEY": API_KEY, "CORS_ORIGINS": ORIGIN, **env}))
    async with started(app), httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://api") as one:
        yield one


async def test_a_page_may_send_what_the_sdk_sends_and_read_what_it_reads(from_pages: httpx2.AsyncClient) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": SDK_HEADERS}
    preflight = await from_pages.options("/v1/assistants", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    allowed = {name.strip() for name in preflight.headers["access-control-allow-headers"].split(",")}
    assert allowed >= set(SDK_HEADERS.split(","))
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {API_KEY}"}
    answer = await from_pages.get("/v1/assistants", headers=headers)
    assert answer.status_code == 200
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= READ_BY_CLIENTS
    for one in (preflight, answer):
        assert "access-control-allow-credentials" not in one.headers


async def test_without_named_origins_no_page_may_read_anything(shared_api: Any) -> None:
    answer = await shared_api.get("/v1/assistants", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
