"""A server that only reads: what is there is shown, and nothing of it changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings

pytestmark = pytest.mark.anyio

MESSAGE = {"role": "user", "content": "What moves the price of gold?"}


async def test_a_server_that_only_reads_shows_everything_and_refuses_to_change_it(
    open_api: Callable[[Settings], Any], make_settings: Callable[..., Settings], sqlite_url: str
) -> None:
    async with open_api(make_settings()) as client:
        thread = (await client.post("/v1/threads", json={"messages": [MESSAGE]})).json()["id"]
    before = Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()
    async with open_api(make_settings(READ_ONLY="true")) as client:
        page = (await client.get(f"/v1/threads/{thread}/messages")).json()
        assert page["data"][0]["content"][0]["text"]["value"] == MESSAGE["content"]
        for path in ("/v1/threads", f"/v1/threads/{thread}/messages"):
            refused = await client.post(path, json=MESSAGE if path.endswith("messages") else {})
            assert refused.status_code == 403
            assert "only reads" in refused.json()["error"]["message"]
        assert (await client.delete(f"/v1/threads/{thread}")).status_code == 403
    assert Path(sqlite_url.removeprefix("sqlite:///")).read_bytes() == before


async def test_a_run_that_was_left_waiting_goes_on_waiting_under_a_server_that_only_reads(
    open_api: Callable[[Settings], Any], make_settings: Callable[..., Settings]
) -> None:
    async with open_api(make_settings(MODEL_URL="http://127.0.0.1:9/v1", SHUTDOWN_GRACE_S="0.1")) as client:
        assistant = (await client.post("/v1/assistants", json={"model": "sovereign-standin"})).json()
        body = {"assistant_id": assistant["id"], "thread": {"messages": [MESSAGE]}}
        run = (await client.post("/v1/threads/runs", json=body)).json()
    path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
    async with open_api(make_settings(READ_ONLY="true")) as client:
        assert (await client.get(path)).json()["status"] == "queued"
        assert (await client.post(f"{path}/cancel")).status_code == 403
        assert (await client.get(path)).json()["status"] == "queued"
