"""Whoever is refused is in the audit: by which key as far as known, from where, and why. Never with a secret."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.keys.secret import new_key, new_key_id
from tests.conformance.checker import Checker
from tests.fixtures.calls import get, post
from tests.fixtures.rooms import Served, served

pytestmark = pytest.mark.anyio

ADDRESS = "127.0.0.1"


@pytest.fixture
async def api(stand_in_url: str, conformance: Checker, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Served]:
    """Give an API over an empty SQLite file."""
    url = f"sqlite:///{tmp_path}/store.db"
    async with served(conformance, DATABASE_URL=url, MODEL_URL=stand_in_url) as opened:
        yield opened


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def denied(api: Served) -> list[tuple[Any, ...]]:
    """Return what the audit has of denials: action, outcome, key, project, address, how often."""
    page = await get(api.client, "/admin/audit", order="asc", limit=100)
    names = ("action", "outcome", "key_id", "project_id", "address", "times")
    return [tuple(record[name] for name in names) for record in page["data"] if record["outcome"] != "ok"]


async def test_a_request_without_a_key(api: Served) -> None:
    answer = await api.client.get("/v1/assistants", headers={"Authorization": ""})
    assert answer.status_code == 401
    assert await denied(api) == [("access.denied", "missing_api_key", None, None, ADDRESS, 1)]
    [record] = (await get(api.client, "/admin/audit", outcome="missing_api_key"))["data"]
    assert record["request_id"] == answer.headers["x-request-id"]


async def test_a_wrong_key_is_kept_in_no_form_but_for_the_public_id_of_one_that_could_be_ours(api: Served) -> None:
    claimed = new_key_id()
    forged = new_key(claimed)
    for wrong in ("sk-a-secret-of-another-service", forged, forged[:-1] + ("x" if forged[-1] != "x" else "y")):
        assert (await api.client.get("/v1/assistants", headers=bearer(wrong))).status_code == 401
    refused = ("access.denied", "invalid_api_key")
    assert await denied(api) == [(*refused, None, None, ADDRESS, 2), (*refused, claimed, None, ADDRESS, 1)]
    rows = str(await api.database.read(lambda tx: tx.all(text("SELECT * FROM audit"))))
    assert claimed in rows
    assert "secret-of-another" not in rows
    assert forged[-38:-6] not in rows


async def test_a_key_without_the_scope_is_named_with_its_project(api: Served) -> None:
    project = (await post(api.client, "/admin/projects", {"name": "Rates"}))["id"]
    key = await post(api.client, "/admin/keys", {"name": "reader", "project_id": project, "scopes": ["read"]})
    for method, path in (("POST", "/v1/assistants"), ("GET", "/admin/audit")):
        answer = await api.client.request(method, path, headers=bearer(key["key"]))
        assert answer.status_code == 403
    assert await denied(api) == [("access.denied", "missing_scope", key["id"], project, ADDRESS, 2)]


async def test_a_revoked_key_is_named(api: Served) -> None:
    key = await post(api.client, "/admin/keys", {"name": "old"})
    await post(api.client, f"/admin/keys/{key['id']}/revoke")
    assert (await api.client.get("/v1/models", headers=bearer(key["key"]))).status_code == 401
    assert await denied(api) == [("access.denied", "invalid_api_key", key["id"], None, ADDRESS, 1)]


async def test_what_an_administrator_failed_to_do(api: Served) -> None:
    assert (await api.client.get("/admin/keys/key_nobody")).status_code == 404
    assert (await api.client.post("/admin/keys", json={"name": ""})).status_code == 400
    assert (await api.client.get("/v1/threads/thread_nobody")).status_code == 404
    found = await denied(api)
    assert {record[0] for record in found} == {"admin.failed"}
    assert sum(record[-1] for record in found) == 2
    assert {record[2:4] for record in found} == {("key_bootstrap", "proj_default")}


async def test_a_burst_is_one_record_with_a_count(api: Served) -> None:
    for _ in range(300):
        await api.client.get("/v1/models", headers=bearer("sk-wrong"))
    found = await denied(api)
    assert sum(record[-1] for record in found) == 300
    assert len(found) < 10  # one for each second that it took


async def test_what_was_let_through_is_no_denial(api: Served) -> None:
    await get(api.client, "/v1/assistants")
    await get(api.client, "/health")
    assert (await api.client.get("/nowhere")).status_code == 404
    assert await denied(api) == []
