"""/admin/audit as an administrator meets it: pages, filters, cursors, verification, refusals. On both engines."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.checker import Checker
from tests.fixtures.calls import assert_refused, get
from tests.fixtures.databases import create_postgres_database
from tests.fixtures.rooms import Served, served
from tests.integration.audit.audited import add

pytestmark = pytest.mark.anyio

RECORDS = 7
ACTIONS = ["thread.create", "thread.delete"]
HASH = "0" * 64


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def api(
    request: pytest.FixtureRequest,
    stand_in_url: str,
    conformance: Checker,
    tmp_path_factory: pytest.TempPathFactory,
    anyio_backend: str,
) -> AsyncIterator[Served]:
    """Give an API over each engine, with a few records and a denial that nobody adds to."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('audit')}/store.db"
    else:
        url = await create_postgres_database(request.getfixturevalue("postgres_url"))
    async with served(conformance, DATABASE_URL=url, MODEL_URL=stand_in_url) as api:
        for number in range(RECORDS):
            await api.database.write(lambda tx, n=number: add(tx, f"thread_{n % 3}", ACTIONS[n % 2]))  # type: ignore[misc]
        api.parts.denials.note("access.denied", "missing_scope", request_id="req_2", address="::1", key_id="key_2")
        await get(api.client, "/admin/audit")  # which seals them, ours before the denial or after it
        yield api


async def positions(api: Served, **query: Any) -> list[int]:
    page = await get(api.client, "/admin/audit", **query)
    assert page["first_id"] == (page["data"][0]["id"] if page["data"] else "")
    assert page["last_id"] == (page["data"][-1]["id"] if page["data"] else "")
    return [record["position"] for record in page["data"]]


async def test_a_record_says_who_did_what_when_and_from_where(api: Served) -> None:
    page = await get(api.client, "/admin/audit", order="asc", limit=1)
    [record] = page["data"]
    seal = record.pop("hash")
    assert len(bytes.fromhex(seal)) == 32
    assert record == {
        "id": "audit_1",
        "object": "audit.record",
        "position": 1,
        "at": 1_700_000_000,
        "request_id": "req_1",
        "key_id": "key_1",
        "project_id": "proj_1",
        "address": "10.0.0.1",
        "action": "thread.create",
        "object_id": "thread_0",
        "outcome": "ok",
        "times": 1,
    }
    assert page["has_more"]


async def test_what_was_just_done_is_in_the_list(api: Served) -> None:
    before = await positions(api, action="key.rotate")
    await api.database.write(lambda tx: add(tx, "key_9", "key.rotate"))
    assert len(await positions(api, action="key.rotate")) == len(before) + 1


async def test_pages_go_both_ways_in_the_order_of_the_chain(api: Served) -> None:
    everything = await positions(api, order="asc", limit=100)
    assert everything == list(range(1, len(everything) + 1))
    assert await positions(api, limit=100) == everything[::-1]
    assert await positions(api, order="asc", limit=3) == [1, 2, 3]
    assert await positions(api, order="asc", limit=3, after="audit_3") == [4, 5, 6]
    assert await positions(api, order="asc", limit=2, before="audit_5") == [3, 4]
    assert await positions(api, limit=2, after="audit_5") == [4, 3]
    assert await positions(api, limit=2, before="audit_3") == [5, 4]
    assert await positions(api, after="audit_5", before="audit_2") == [4, 3]
    assert await positions(api, order="asc", after="audit_99999") == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"project_id": "proj_1", "action": "thread.create"}, 4),
        ({"project_id": "proj_1", "action": "thread.delete"}, 3),
        ({"project_id": "proj_2"}, 0),
        ({"object_id": "thread_0"}, 3),
        ({"key_id": "key_2"}, 1),
        ({"outcome": "missing_scope"}, 1),
        ({"object_id": "thread_0", "action": "thread.delete"}, 1),
        ({"object_id": "thread_0", "since": 1_700_000_000}, 3),
        ({"object_id": "thread_0", "since": 1_700_000_001}, 0),
        ({"object_id": "thread_0", "until": 1_700_000_001}, 3),
        ({"object_id": "thread_0", "until": 1_700_000_000}, 0),
    ],
    ids=str,
)
async def test_filters_narrow_the_list(api: Served, query: dict[str, Any], count: int) -> None:
    assert len(await positions(api, **query)) == count
    paged = await get(api.client, "/admin/audit", **query, limit=1)
    assert paged["has_more"] is (count > 1)


async def test_the_chain_is_verified_up_to_its_head_and_against_an_anchor(api: Served) -> None:
    newest = (await get(api.client, "/admin/audit", limit=1))["data"][0]
    expected = {
        "object": "audit.verification",
        "valid": True,
        "position": newest["position"],
        "hash": newest["hash"],
        "fault": None,
        "has_more": False,
    }
    link = f"{newest['position']}:{newest['hash']}"
    assert await get(api.client, "/admin/audit/verify") == expected
    assert await get(api.client, "/admin/audit/verify", anchor=link) == expected
    assert await get(api.client, "/admin/audit/verify", after=link) == expected
    found = await get(api.client, "/admin/audit/verify", anchor=f"3:{HASH}")
    assert (found["valid"], found["fault"]) == (False, {"position": 3, "reason": "rewritten"})


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("value", ["-1", "1.5", "noon", "1" * 13, ""])
async def test_a_time_that_is_none_is_refused(api: Served, name: str, value: str) -> None:
    answer = await api.client.get("/admin/audit", params={name: value})
    text = f"Invalid '{name}': '{value}'. Expected whole seconds since 1970."
    assert_refused(answer, text, param=name, code="invalid_value")


@pytest.mark.parametrize("name", ["project_id", "key_id", "object_id", "action", "outcome"])
@pytest.mark.parametrize("value", ["a b", "\x00", "x" * 65, "é"])
async def test_a_filter_that_nothing_can_have_is_refused(api: Served, name: str, value: str) -> None:
    answer = await api.client.get("/admin/audit", params={name: value})
    text = f"Invalid '{name}': '{value}'. Expected at most 64 letters, numbers, underscores, dots or dashes."
    assert_refused(answer, text, param=name, code="invalid_value")


@pytest.mark.parametrize("name", ["after", "anchor"])
@pytest.mark.parametrize("value", ["1", f"-1:{HASH}", f"1:{HASH[1:]}", f"{'1' * 19}:{HASH}", f"1:{HASH[1:]}G"])
async def test_a_link_that_is_none_is_refused(api: Served, name: str, value: str) -> None:
    answer = await api.client.get("/admin/audit/verify", params={name: value})
    text = f"Invalid '{name}': '{value}'. Expected a position and a hash of 64 hexadecimal digits, as '17:9f86…'."
    assert_refused(answer, text, param=name, code="invalid_value")


@pytest.mark.parametrize("name", ["after", "before"])
@pytest.mark.parametrize("value", ["thread_1", "audit_", "audit_x", f"audit_{'1' * 19}"])
async def test_a_cursor_of_another_kind_is_refused(api: Served, name: str, value: str) -> None:
    answer = await api.client.get("/admin/audit", params={name: value})
    text = f"Invalid '{name}': no object with id '{value}' found in this list."
    assert_refused(answer, text, param=name, code="invalid_value")


@pytest.mark.parametrize("path", ["/admin/audit", "/admin/audit/verify"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_that_is_recorded_can_be_changed(api: Served, path: str, method: str) -> None:
    assert (await api.client.request(method, path)).status_code == 405
