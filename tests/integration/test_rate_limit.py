"""Limits over HTTP, on a real port: exact under concurrent callers, told on every answer, retried by the SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from app.db.opening import open_database
from app.keys.limits import Limits
from tests.fixtures.calls import assert_refused
from tests.fixtures.limited import LimitedApi, limited_api, on_a_port

pytestmark = pytest.mark.anyio

SIX = {f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")}


LIMITS = Limits(requests_per_minute=10, tokens_per_minute=600, concurrent_streams=2)


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[tuple[LimitedApi, str]]:
    """Give an API behind a port, and its address, for all tests of this module: each has keys of its own."""
    database = await open_database(f"sqlite:///{tmp_path_factory.mktemp('limits')}/sovereign_assistant.db")
    async with limited_api(database) as api, on_a_port(api) as url:
        yield api, url
    await database.close()


@pytest.fixture
async def api(
    served: tuple[LimitedApi, str], request: pytest.FixtureRequest
) -> AsyncIterator[tuple[LimitedApi, httpx2.AsyncClient]]:
    """Give the API with a new key that is limited, and a client that uses it."""
    limited, url = served
    limited.add_key(request.node.name, LIMITS)
    limited.go_on.clear()
    async with httpx2.AsyncClient(
        base_url=url, headers={"x-key": request.node.name}, limits=httpx2.Limits(max_connections=64), timeout=10
    ) as client:
        yield limited, client


def told(answer: httpx2.Response) -> dict[str, str]:
    """Return the x-ratelimit headers of an answer."""
    return {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}


async def test_of_64_callers_at_once_exactly_as_many_pass_as_may(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    _, client = api
    answers = await asyncio.gather(*(client.get("/v1/models") for _ in range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 54
    remaining = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
    assert max(remaining) <= 9
    assert remaining.count(0) >= 55


async def test_of_64_runs_at_once_no_more_tokens_are_reserved_than_there_are(
    api: tuple[LimitedApi, httpx2.AsyncClient],
) -> None:
    served, client = api
    served.add_key("runs", Limits(tokens_per_minute=600), Limits(tokens_per_day=500), project_id="proj_runs")
    body = {"estimate": 100, "used": 100}
    answers = await asyncio.gather(*(client.post("/v1/runs", json=body, headers={"x-key": "runs"}) for _ in range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 59


async def test_a_refusal_is_an_error_of_openais_with_both_waits(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    served, client = api
    served.add_key("slow", Limits(requests_per_minute=1))
    assert (await client.get("/v1/models", headers={"x-key": "slow"})).status_code == 200
    answer = await client.get("/v1/models", headers={"x-key": "slow"})
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["message"].startswith(
        "Rate limit reached for this key on requests per min (RPM): Limit 1, Used 1, Requested 1. Please try again in "
    )
    assert (error["type"], error["code"], error["param"]) == ("rate_limit_error", "rate_limit_exceeded", None)
    assert 58 <= int(answer.headers["retry-after"]) <= 60
    assert 58_000 <= int(answer.headers["retry-after-ms"]) <= 60_000
    assert "x-should-retry" not in answer.headers


async def test_an_operator_whose_project_is_flooded_can_still_administer(
    api: tuple[LimitedApi, httpx2.AsyncClient],
) -> None:
    served, client = api
    served.add_key("operator", project_limits=Limits(requests_per_minute=1), project_id="proj_flooded")
    headers = {"x-key": "operator"}
    answers = [await client.get("/v1/models", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert (await client.get("/admin/usage", headers=headers)).status_code == 200


async def test_a_used_up_quota_asks_nobody_to_wait_for_it(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    served, client = api
    served.add_key("spent", Limits(tokens_per_month=10))
    headers = {"x-key": "spent"}
    assert (await client.post("/v1/runs", json={"estimate": 1, "used": 10}, headers=headers)).status_code == 200
    answer = await client.post("/v1/runs", json={"estimate": 1, "used": 1}, headers=headers)
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == answer.json()["error"]["code"] == "insufficient_quota"
    assert answer.headers["retry-after"] == "60"
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/unknown", 404),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/runs", 400),
        ("POST", "/v1/echo", 413),
        ("GET", "/v1/broken", 500),
        ("GET", "/v1/stream", 200),
    ],
)
async def test_every_answer_to_a_limited_key_has_the_six_headers(
    api: tuple[LimitedApi, httpx2.AsyncClient], method: str, path: str, status: int
) -> None:
    served, client = api
    served.go_on.set()
    content = b"{}" if status == 400 else b"x" * 2000 if status == 413 else None
    answer = await client.request(method, path, content=content)
    assert answer.status_code == status
    assert set(told(answer)) == SIX
    assert answer.headers["x-ratelimit-limit-requests"] == "10"
    assert answer.headers["x-ratelimit-remaining-requests"] == "9"
    assert answer.headers["x-ratelimit-reset-requests"].endswith(("s", "ms"))
    assert answer.headers["x-ratelimit-remaining-tokens"] == "600"
    assert answer.headers["x-ratelimit-reset-tokens"] == "0ms"
    assert answer.headers["x-request-id"]


async def test_a_key_without_limits_and_a_request_without_key_have_no_such_headers(
    api: tuple[LimitedApi, httpx2.AsyncClient],
) -> None:
    served, client = api
    served.add_key("free")
    assert told(await client.get("/v1/models", headers={"x-key": "free"})) == {}
    client.headers.pop("x-key")
    answer = await client.get("/v1/models")
    assert (answer.status_code, told(answer)) == (200, {})


def streams_left(served: LimitedApi, client: httpx2.AsyncClient) -> int | None:
    """Return how many streams a client may begin."""
    return served.limiter.remaining(served.grants[client.headers["x-key"]])[0].concurrent_streams


async def test_streams_hold_a_place_until_they_end_or_their_reader_leaves(
    api: tuple[LimitedApi, httpx2.AsyncClient],
) -> None:
    served, client = api
    async with client.stream("GET", "/v1/stream") as first:
        async with client.stream("GET", "/v1/stream") as second:
            assert first.status_code == second.status_code == 200
            refused = await client.get("/v1/stream")
            assert refused.status_code == 429
            assert "concurrent streams: Limit 2, Used 2" in refused.json()["error"]["message"]
            assert set(told(refused)) == SIX
            assert served.streaming == 2
        await until(lambda: streams_left(served, client) == 1)
        async with client.stream("GET", "/v1/stream") as third:
            assert third.status_code == 200
            served.go_on.set()
            assert b"event: over" in await third.aread()
        assert b"event: over" in await first.aread()
    await until(lambda: streams_left(served, client) == 2)
    assert served.streaming == 0


async def test_a_refused_stream_is_no_fault(
    api: tuple[LimitedApi, httpx2.AsyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    _, client = api
    async with client.stream("GET", "/v1/stream"), client.stream("GET", "/v1/stream"):
        answer = await client.get("/v1/stream")
    message = "Rate limit reached for this key on concurrent streams: Limit 2, Used 2, Requested 1. "
    assert_refused(
        answer,
        message + "Please try again in 5s.",
        status=429,
        code="rate_limit_exceeded",
        kind="rate_limit_error",
    )
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def until(holds: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


def sdk_for(client: httpx2.AsyncClient, key: str, **options: Any) -> openai.AsyncOpenAI:
    """Return the official client, which sends a key of ours."""
    url = str(client.base_url.join("/v1"))
    return openai.AsyncOpenAI(base_url=url, api_key="unused", default_headers={"x-key": key}, **options)


async def test_the_sdk_waits_as_long_as_it_is_told_and_then_succeeds(
    api: tuple[LimitedApi, httpx2.AsyncClient],
) -> None:
    served, client = api
    served.add_key("fast", Limits(requests_per_minute=60))
    for _ in range(60):
        served.limiter.admit_request(served.grants["fast"])
    # One refills in a second. Left to itself the SDK would come back after half of one, and once only.
    async with sdk_for(client, "fast", max_retries=1) as sdk:
        assert (await sdk.models.list()).data == []
    assert served.ledger.counts("key_fast", "proj_one").refused == 1


async def test_the_sdk_raises_its_own_error_with_what_it_was_told(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    served, client = api
    served.add_key("slower", Limits(requests_per_minute=1))
    served.limiter.admit_request(served.grants["slower"])
    async with sdk_for(client, "slower", max_retries=0) as sdk:
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.models.list()
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.request_id


async def test_the_sdk_does_not_try_a_used_up_quota_again(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    served, client = api
    served.add_key("day", Limits(tokens_per_day=10))
    async with sdk_for(client, "day") as sdk:
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.post("/runs", cast_to=object, body={"estimate": 11, "used": 0})
    assert caught.value.code == "insufficient_quota"
    assert served.ledger.counts("key_day", "proj_one").refused == 1
