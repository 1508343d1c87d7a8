"""/v1/usage and /admin/usage, over each engine."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.db.database import Database
from app.keys.limits import Limits
from app.limits.calendar import day_number, day_text
from tests.fakes.two_clocks import TwoClocks
from tests.fixtures.calls import assert_refused, get
from tests.fixtures.limited import LimitedApi, client_of, limited_api

pytestmark = pytest.mark.anyio

TODAY = day_number("2026-11-22")
DAY_S = 86_400
ZERO = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "runs": 0, "refused": 0}
NONE = dict.fromkeys(Limits.__struct_fields__)


@pytest.fixture
def clock() -> TwoClocks:
    """Give a clock at noon of a day in November."""
    return TwoClocks(TODAY * DAY_S + DAY_S // 2)


@pytest.fixture
async def api(database: Database, clock: TwoClocks) -> AsyncIterator[tuple[LimitedApi, httpx2.AsyncClient]]:
    """Give an API over each engine and a client with a key."""
    async with limited_api(database, clock) as served, client_of(served, "one") as client:
        served.add_key("one", Limits(requests_per_minute=100, tokens_per_day=1000), Limits(tokens_per_month=5000))
        served.add_key("two")
        yield served, client


def use(served: LimitedApi, name: str, prompt: int, completion: int) -> None:
    served.limiter.admit_run(served.grants[name], 1).settle(prompt, completion)


async def test_a_key_that_was_never_used_has_used_one_request(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    _, client = api
    used = {**ZERO, "requests": 1}
    assert await get(client, "/v1/usage") == {
        "object": "usage",
        "key_id": "key_one",
        "project_id": "proj_one",
        "today": used,
        "month": used,
        "days": [{"day": "2026-11-22", **used}],
        "key": {
            "limits": {**NONE, "requests_per_minute": 100, "tokens_per_day": 1000},
            "remaining": {**NONE, "requests_per_minute": 99, "tokens_per_day": 1000},
        },
        "project": {
            "limits": {**NONE, "tokens_per_month": 5000},
            "remaining": {**NONE, "tokens_per_month": 5000},
        },
    }


async def test_a_key_sees_its_own_figures_of_today_of_the_month_and_of_31_days(
    api: tuple[LimitedApi, httpx2.AsyncClient], clock: TwoClocks
) -> None:
    served, client = api
    clock.set_wall((TODAY - 31) * DAY_S)
    use(served, "one", 1000, 1000)
    clock.set_wall((TODAY - 30) * DAY_S)
    use(served, "one", 100, 1)
    clock.set_wall((TODAY - 1) * DAY_S)
    use(served, "one", 10, 2)
    clock.set_wall(TODAY * DAY_S)
    use(served, "one", 5, 3)
    use(served, "two", 700, 700)
    usage = await get(client, "/v1/usage")
    assert [(day["day"], day["total_tokens"]) for day in usage["days"]] == [
        ("2026-11-22", 8),
        ("2026-11-21", 12),
        (day_text(TODAY - 30), 101),
    ]
    assert usage["today"] == {**ZERO, "requests": 1, "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8} | {
        "runs": 1
    }
    assert usage["month"]["total_tokens"] == 20
    assert usage["key"]["remaining"]["tokens_per_day"] == 992


async def test_refusals_are_counted_and_not_as_requests(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    served, client = api
    for _ in range(98):
        served.limiter.admit_request(served.grants["one"])
    assert (await client.get("/v1/models")).status_code == 200
    statuses = [(await client.get("/v1/usage")).status_code for _ in range(3)]
    assert statuses == [200, 429, 429]
    served.add_key("one")
    today = (await get(client, "/v1/usage"))["today"]
    assert (today["requests"], today["refused"]) == (101, 2)


async def records(client: httpx2.AsyncClient, **query: Any) -> list[tuple[str, str, int]]:
    page = await get(client, "/admin/usage", **query)
    return [(one["day"], one["key_id"], one["total_tokens"]) for one in page["data"]]


async def test_an_administrator_sees_every_key_by_day_and_chooses(
    api: tuple[LimitedApi, httpx2.AsyncClient], clock: TwoClocks
) -> None:
    served, client = api
    served.grants["far"] = served.grants["two"].for_project("proj_far", Limits())
    for ago in (2, 1, 0):
        clock.set_wall((TODAY - ago) * DAY_S)
        use(served, "one", 10, ago)
        use(served, "far", 20, ago)
    first, second, third = "2026-11-20", "2026-11-21", "2026-11-22"
    whole = await records(client)
    assert whole == [
        (third, "key_one", 10),
        (third, "key_two", 20),
        (second, "key_one", 11),
        (second, "key_two", 21),
        (first, "key_one", 12),
        (first, "key_two", 22),
    ]
    assert await records(client, order="asc") == whole[::-1]
    assert await records(client, project_id="proj_far") == whole[1::2]
    assert await records(client, key_id="key_one") == whole[::2]
    assert await records(client, first_day=second, last_day=second) == whole[2:4]
    assert await records(client, first_day=second, key_id="key_two", project_id="proj_one") == []


async def test_pages_of_usage_follow_one_another(api: tuple[LimitedApi, httpx2.AsyncClient], clock: TwoClocks) -> None:
    served, client = api
    for ago in range(5):
        clock.set_wall((TODAY - ago) * DAY_S)
        use(served, "two", 1, 0)
    clock.set_wall(TODAY * DAY_S)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "key_id": "key_two"}
    while True:
        page = await get(client, "/admin/usage", **query)
        seen += [one["day"] for one in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert seen == [day_text(TODAY - ago) for ago in range(5)]


async def test_a_day_that_is_none_is_refused(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    _, client = api
    for name in ("first_day", "last_day"):
        for text in ("2026-13-01", "yesterday", "20261122", "2026-W01-1", "2026-11-22T00:00:00Z", ""):
            answer = await client.get("/admin/usage", params={name: text})
            message = f"Invalid '{name}': expected a day such as '2026-11-22'."
            assert_refused(answer, message, param=name, code="invalid_value")


async def test_an_id_of_another_kind_is_refused(api: tuple[LimitedApi, httpx2.AsyncClient]) -> None:
    _, client = api
    for name, prefix in (("project_id", "proj"), ("key_id", "key")):
        answer = await client.get("/admin/usage", params={name: "thread_1"})
        message = f"Invalid '{name}': 'thread_1'. Expected an ID that begins with '{prefix}'."
        assert_refused(answer, message, param=name, code="invalid_value")


async def test_figures_outlast_the_process_that_counted_them(
    api: tuple[LimitedApi, httpx2.AsyncClient], database: Database, clock: TwoClocks
) -> None:
    served, _ = api
    use(served, "one", 30, 12)
    await served.keeper.store()
    async with limited_api(database, clock) as again, client_of(again, "one") as client:
        again.grants.update(served.grants)
        usage = await get(client, "/v1/usage")
    assert usage["today"]["total_tokens"] == 42
    assert usage["key"]["remaining"]["tokens_per_day"] == 958
