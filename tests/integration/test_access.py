"""The edge that every request passes: keys, the headers of every answer, the body limit, pages of other origins."""

import gzip
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fixtures.calls import assert_refused, get, new_assistant, new_thread, post
from tests.fixtures.rooms import led_by_a_script
from tests.fixtures.routes import GUARDED, ROUTES
from tests.fixtures.servers import API_KEY

pytestmark = pytest.mark.anyio

OPEN = ("/health", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json", "/docs/assets/pages.css")
ORIGIN = "https://desk.test"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {API_KEY}"},
        {"authorization": f"bearer {API_KEY}"},
        {"AUTHORIZATION": f"BEARER  {API_KEY} "},
        {"Authorization": "", "X-API-Key": API_KEY},
        {"Authorization": "Basic dXNlcjpwYXNz", "x-api-key": API_KEY},
        {"Authorization": f"Bearer {API_KEY}", "X-API-Key": "sk-of-something-else"},
    ],
    ids=["bearer", "lower case", "upper case", "X-API-Key", "beside another scheme", "bearer comes first"],
)
async def test_the_key_is_taken_in_either_header(shared_api: Any, headers: dict[str, str]) -> None:
    answer = await shared_api.get("/v1/assistants", params={"limit": 1}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"Authorization": f"Bearer {API_KEY}x"}, "sk-***itex"),
        ({"Authorization": f"Bearer {API_KEY[:-1]}"}, "sk-***suit"),
        ({"Authorization": f"Bearer {API_KEY.upper()}"}, "SK-***UITE"),
        ({"Authorization": "Bearer short"}, "***"),
        ({"Authorization": "", "X-API-Key": "sk-wrong-key-of-somebody"}, "sk-***body"),
        ({"Authorization": "Bearer sk-wrong-key-of-somebody", "X-API-Key": API_KEY}, "sk-***body"),
        ({"Authorization": "Bearer schlüssel-größe".encode()}, "sch***\ufffd\ufffde"),
    ],
    ids=["longer", "shorter", "other case", "short", "X-API-Key", "bearer comes first", "bytes"],
)
async def test_another_key_is_refused_and_shown_masked(shared_api: Any, headers: Any, shown: str) -> None:
    answer = await shared_api.get("/v1/assistants", headers=headers)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("invalid_api_key", "invalid_request_error", None)
    assert error["message"].startswith("Incorrect API key provided: ")
    masked = error["message"].removeprefix("Incorrect API key provided: ").removesuffix(".")
    assert (masked[:3], masked[-1:]) == (shown[:3], shown[-1:])
    assert len(masked) <= 10


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", API_KEY])
async def test_what_is_no_key_counts_as_none(shared_api: Any, header: str) -> None:
    answer = await shared_api.get("/v1/assistants", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"]["message"].startswith("You didn't provide an API key.")
    assert answer.json()["error"]["code"] is None


@pytest.mark.parametrize("path", OPEN)
async def test_health_and_docs_need_no_key(shared_api: Any, path: str) -> None:
    answer = await shared_api.get(path, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/nothing", "/metrics/x", "/docsx", "/health/x", "/openapi.jsonx", "//docs", "/docs/../v1/assistants"],
)
async def test_nothing_else_is_told_without_a_key_not_even_what_exists(shared_api: Any, path: str) -> None:
    answer = await shared_api.get(path, headers={"Authorization": ""})
    assert answer.status_code in (401, 404)
    if answer.status_code == 404:  # below /docs anything is open, and nothing but the pages is there
        assert path.startswith("/docs/")


async def test_without_a_key_to_compare_everything_is_refused(conformance: Any, tmp_path: Any) -> None:
    import httpx2

    from app.main import create_app
    from app.settings import load_settings
    from tests.fixtures.lifespan import started

    app = create_app(load_settings({"DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}))
    async with started(app), httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://a") as client:
        assert (await client.get("/health")).status_code == 200
        for key in ("", "None", "Bearer", "Bearer None", "Bearer x"):
            assert (await client.get("/v1/assistants", headers={"Authorization": key})).status_code == 401


REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")


async def test_every_answer_of_every_kind_has_the_headers(shared_api: Any) -> None:
    assistant, thread = await new_assistant(shared_api), await new_thread(shared_api, "x")
    requests = [
        ("GET", f"/v1/assistants/{assistant}", {}),
        ("POST", f"/v1/threads/{thread}/runs", {"json": {"assistant_id": assistant, "stream": True}}),
        ("GET", "/v1/assistants/asst_unknown", {}),
        ("GET", "/v1/nothing", {}),
        ("PUT", "/v1/assistants", {}),
        ("GET", "/v1/assistants", {"headers": {"Authorization": ""}}),
        ("POST", "/v1/threads", {"content": b"{"}),
        ("OPTIONS", "/v1/threads", {}),
        ("HEAD", "/v1/threads", {}),
        *(("GET", path, {}) for path in OPEN),
    ]
    ids = set()
    for method, path, request in requests:
        answer = await shared_api.request(method, path, **request)
        assert REQUEST_ID.fullmatch(answer.headers["x-request-id"]), path
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-processing-ms"].isdecimal()
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == len(requests)


async def test_a_clients_request_id_is_not_taken_for_ours(shared_api: Any) -> None:
    answer = await shared_api.get("/v1/assistants", headers={"x-request-id": "mine"})
    assert answer.headers.get_list("x-request-id") != ["mine"]
    assert len(answer.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("beta", [None, "assistants=v2", "assistants=v1", "realtime=v1", ""])
async def test_the_beta_header_is_taken_and_not_needed(shared_api: Any, beta: str | None) -> None:
    headers = {} if beta is None else {"OpenAI-Beta": beta}
    answer = await shared_api.post("/v1/threads", headers=headers)
    assert answer.status_code == 200


async def test_what_sdks_add_is_taken(shared_api: Any) -> None:
    headers = {
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "proj_default",
        "X-Stainless-Retry-Count": "1",
        "X-Stainless-Poll-Helper": "true",
        "Idempotency-Key": "k",
        "Accept": "application/json",
        "User-Agent": "OpenAI/Python 3.54.0",
    }
    answer = await shared_api.post("/v1/threads", json={}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "sent", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json", ""]
)
async def test_json_by_any_of_its_names_is_taken(shared_api: Any, sent: str) -> None:
    answer = await shared_api.post("/v1/threads", content=b'{"metadata":{"a":"b"}}', headers={"content-type": sent})
    assert answer.json()["metadata"] == {"a": "b"}


async def test_a_path_may_end_in_a_slash(shared_api: Any) -> None:
    made = await post(shared_api, "/v1/threads/", {})
    assert await get(shared_api, f"/v1/threads/{made['id']}/") == made


@pytest.fixture(scope="module")
async def tight(conformance: Any, tmp_path_factory: Any, anyio_backend: str) -> AsyncIterator[Any]:
    """An API that takes 2 kB, and pages of one origin."""
    env = {"BODY_LIMIT_BYTES": "2048", "CORS_ORIGINS": f"{ORIGIN},https://other.test/"}
    async with led_by_a_script(conformance, tmp_path_factory.mktemp("tight"), **env) as api:
        yield api.client


def body_of(size: int) -> bytes:
    start, end = b'{"metadata":{"a":"', b'"}}'
    padding = b" " * (size - len(start) - len(end))
    return start + end + padding


async def test_a_body_on_the_limit_is_taken_and_one_beyond_is_not(tight: Any) -> None:
    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        for place in range(0, len(body), 500):
            yield body[place : place + 500]

    for stated in (True, False):
        small, large = body_of(2048), body_of(2049)
        taken = await tight.post("/v1/threads", content=small if stated else in_pieces(small))
        assert taken.status_code == 200
        answer = await tight.post("/v1/threads", content=large if stated else in_pieces(large))
        text = "Request body too large. Expected at most 2048 bytes."
        assert_refused(answer, text, status=413, code="request_too_large")


async def test_the_key_is_asked_for_before_the_body_is_looked_at(tight: Any) -> None:
    answer = await tight.post("/v1/threads", content=body_of(9000), headers={"Authorization": ""})
    assert answer.status_code == 401


async def test_the_usual_limit_is_the_settings_and_not_the_frameworks(shared_api: Any) -> None:
    fits, over = body_of(10 * 1024 * 1024), body_of(10 * 1024 * 1024 + 1)
    assert (await shared_api.post("/v1/threads", content=fits)).status_code == 200
    assert (await shared_api.post("/v1/threads", content=over)).status_code == 413


async def test_a_compressed_body_is_not_json(shared_api: Any) -> None:
    packed = gzip.compress(b"{}")
    answer = await shared_api.post("/v1/threads", content=packed, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400


async def test_a_preflight_of_a_named_origin_is_answered_without_a_key(tight: Any) -> None:
    headers = {
        "Authorization": "",
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,openai-beta,x-stainless-lang",
    }
    answer = await tight.options("/v1/threads", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-headers"] == headers["Access-Control-Request-Headers"]
    methods = {method.strip() for method in answer.headers["access-control-allow-methods"].split(",")}
    assert methods >= {route.method for route in ROUTES}
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize("origin", [ORIGIN, "https://other.test"])
async def test_an_answer_can_be_read_by_pages_of_a_named_origin_whatever_it_says(tight: Any, origin: str) -> None:
    for status, request in (
        (200, {}),
        (400, {"content": b"{"}),
        (401, {"headers": {"Authorization": "Bearer x"}}),
        (413, {"content": body_of(9000)}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ):
        headers = {"Origin": origin, **request.pop("headers", {})}  # type: ignore[dict-item]
        answer = await tight.post("/v1/threads", headers=headers, **request)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin
        exposed = answer.headers["access-control-expose-headers"]
        assert {"x-request-id", "retry-after"} <= {name.strip() for name in exposed.split(",")}


@pytest.mark.parametrize("origin", ["https://evil.test", "http://desk.test", "https://desk.test.evil.test", "null"])
async def test_pages_of_other_origins_read_nothing(tight: Any, origin: str) -> None:
    answer = await tight.post("/v1/threads", headers={"Origin": origin})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST", "Authorization": ""}
    assert (await tight.options("/v1/threads", headers=preflight)).status_code == 401


async def test_no_origin_is_named_by_default(shared_api: Any) -> None:
    answer = await shared_api.post("/v1/threads", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_log_has_a_line_for_each_request_without_ids_queries_or_keys(
    shared_api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    thread = await new_thread(shared_api, "the secret prompt")
    caplog.clear()
    with caplog.at_level(logging.INFO, "app.access"):
        caplog.clear()  # an earlier test may have left the level low enough for the request before
        answer = await shared_api.get(f"/v1/threads/{thread}/messages", params={"limit": 1})
        await shared_api.get("/v1/secret", headers={"Authorization": "Bearer sk-some-secret"})
    first, second = [vars(record) for record in caplog.records if record.name == "app.access"]
    told = {name: first[name] for name in ("method", "route", "status", "request_id")}
    assert told.pop("request_id") == answer.headers["x-request-id"]
    assert told == {"method": "GET", "route": "/v1/threads/{thread_id}/messages", "status": 200}
    assert (second["route"], second["status"]) == ("unmatched", 401)
    assert "secret" not in json.dumps([first, second], default=str)
    assert thread not in json.dumps([first, second], default=str)


def test_all_that_is_guarded_lies_under_v1() -> None:
    assert {route.path for route in ROUTES} - {route.path for route in GUARDED} == {
        "/health",
        "/health/live",
        "/health/ready",
    }
