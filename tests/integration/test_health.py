"""/health: alive, ready, and what is missing when it is not."""

from collections.abc import Callable
from typing import Any

import pytest

from app.settings import Settings
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
    assert answer.json() == {"status": "ready", "checks": {"database": "ok", "model": "ok"}}


async def test_a_server_whose_model_server_is_down_says_so_and_when_to_ask_again(
    open_api: Callable[[Settings], Any], make_settings: Callable[..., Settings]
) -> None:
    async with open_api(make_settings(MODEL_URL=f"http://127.0.0.1:{free_port()}/v1")) as api:
        answer = await api.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json() == {"status": "unavailable", "checks": {"database": "ok", "model": "unavailable"}}
