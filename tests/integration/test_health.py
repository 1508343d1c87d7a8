"""/health: alive, ready, and what is missing when it is not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.settings import Settings
from tests.fakes.model_faults import replies, resets
from tests.fakes.model_server import model_server
from tests.fixtures.processes import free_port

pytestmark = pytest.mark.anyio


async def test_liveness_needs_no_key(api_on_each: Any) -> None:
    for path in ("/health", "/health/live"):
        answer = await api_on_each.get(path, headers={"Authorization": ""})
        assert answer.status_code == 200
        assert set(answer.json()) == {"status", "version", "timestamp"}


async def test_a_server_with_database_and_model_server_is_ready(api_on_each: Any) -> None:
    answer = await api_on_each.get("/health/ready", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"database": "ok", "model": "ok"}, "message": None}


LOADING = "The model server cannot be reached."


async def ready(api: Any) -> tuple[int, str, str, str]:
    """Ask for readiness; return the status, how server and model server are, and why."""
    answer = await api.get("/health/ready")
    body = answer.json()
    assert body["checks"]["database"] == "ok"
    assert answer.headers.get("retry-after") == (None if answer.status_code == 200 else "5")
    return answer.status_code, body["status"], body["checks"]["model"], body["message"]


async def becomes(api: Any, *wanted: Any) -> None:
    """Wait until readiness tells this much: how a model server is, is known within a few seconds."""
    async with asyncio.timeout(10):
        while (await ready(api))[: len(wanted)] != wanted:
            await asyncio.sleep(0.05)


async def test_a_model_server_that_never_answered_is_loading(
    open_api: Callable[[Settings], Any], make_settings: Callable[..., Settings]
) -> None:
    async with open_api(make_settings(MODEL_URL=f"http://127.0.0.1:{free_port()}/v1")) as api:
        assert await ready(api) == (503, "loading", "loading", LOADING)


async def test_a_model_server_that_answers_503_is_loading_and_one_that_refuses_our_key_is_unavailable(
    open_api: Callable[[Settings], Any], make_settings: Callable[..., Settings]
) -> None:
    async with model_server() as model, open_api(make_settings(MODEL_URL=model.url)) as api:
        model.listing = replies(503, b'{"error":{"message":"Loading model"}}')
        message = "The model server is overloaded or loading: Loading model"
        await becomes(api, 503, "loading", "loading", message)
        model.listing = replies(401, b'{"error":"Unauthorized"}')
        await becomes(api, 503, "unavailable", "unavailable")
        model.listing = replies(200, b'{"data":[]}')
        await becomes(api, 503, "loading", "loading", "The model server serves no model yet.")


async def test_a_model_server_that_went_away_is_unavailable_within_a_moment(
    open_api: Callable[[Settings], Any], make_settings: Callable[..., Settings]
) -> None:
    async with model_server() as model, open_api(make_settings(MODEL_URL=model.url)) as api:
        assert await ready(api) == (200, "ready", "ok", None)
        model.listing = resets(head=False)
        await becomes(api, 503, "unavailable", "unavailable")
