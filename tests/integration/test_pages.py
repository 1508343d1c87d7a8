"""Cursor pages of every list: order, limits, cursors both ways, and what is refused. On both databases.

Rows are made older and younger than their ids say, and many share a second: order must come from the columns.
"""

import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import column, insert, update

from app.db.tables import AssistantRow, RunRow, StepRow, table
from app.kit.ids import new_id
from tests.fixtures.calls import assert_refused, completed_run, get, new_assistant, new_thread, post
from tests.fixtures.rooms import Served, served

pytestmark = pytest.mark.anyio

COUNT = 7
# Two share a second with others, one is older than all, one younger: place in the list is not place in time of making.
AGES = (50, 40, 40, 90, 10, 40, 40)
LISTS = ("assistants", "messages", "runs", "steps")


class Listed(NamedTuple):
    """A list: where it is, and its ids from oldest to newest."""

    path: str
    ids: list[str]


def ordered(ids: list[str]) -> list[str]:
    """Sort by age, then by id."""
    return [made for _, made in sorted(zip((-age for age in AGES), ids, strict=True))]


async def set_ages(api: Served, row: Any, ids: list[str]) -> None:
    """Make rows as old as AGES says."""
    now, rows = int(time.time()), table(row)
    for made, age in zip(ids, AGES, strict=True):
        aged = update(rows).where(column("id") == made).values(created_at=now - age)
        await api.database.write(lambda tx, aged=aged: tx.run(aged))  # type: ignore[misc]


async def add_steps(api: Served, run: dict[str, Any], template: dict[str, Any]) -> list[str]:
    """Give a run six more steps, as a run with tools would have."""
    ids = [new_id("step") for _ in range(COUNT - 1)]
    details = f'{{"type":"message_creation","message_creation":{{"message_id":"{new_id("msg")}"}}}}'
    columns = {name: run[name] for name in ("thread_id", "assistant_id")}
    columns |= {"project_id": "proj_default", "run_id": run["id"], "created_at": run["created_at"]}
    columns |= {"type": "message_creation", "status": "completed", "step_details": details, "metadata": "{}"}
    columns |= {"ended_at": run["completed_at"], "last_error": None, "position": None}
    columns |= {"usage": '{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'}
    rows = [columns | {"id": made} for made in ids]
    await api.database.write(lambda tx: tx.run_many(insert(table(StepRow)), rows))
    return [template["id"], *ids]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def listed(
    request: pytest.FixtureRequest, stand_in_url: str, conformance: Any, tmp_path_factory: Any, anyio_backend: str
) -> AsyncIterator[tuple[Any, dict[str, Listed]]]:
    """An API of its own, since the list of assistants holds everybody's, with seven objects in every list."""
    from tests.fixtures.databases import create_postgres_database

    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path_factory.mktemp('pages')}/sovereign_assistant.db"
    else:
        database = await create_postgres_database(request.getfixturevalue("postgres_url"))
    async with served(conformance, DATABASE_URL=database, MODEL_URL=stand_in_url) as api:
        yield api.client, await fill(api)


async def fill(api: Served) -> dict[str, Listed]:
    client = api.client
    assistants = [await new_assistant(client) for _ in range(COUNT)]
    await set_ages(api, AssistantRow, assistants)
    talk = await new_thread(client, *(f"number {n}" for n in range(COUNT)))
    messages = [made["id"] for made in (await get(client, f"/v1/threads/{talk}/messages", order="asc"))["data"]]
    busy = await new_thread(client, "x")
    runs = [await completed_run(client, busy, assistants[0]) for _ in range(COUNT)]
    where = f"/v1/threads/{busy}/runs/{runs[0]['id']}/steps"
    (first,) = (await get(client, where))["data"]
    steps = await add_steps(api, runs[0], first)
    await set_ages(api, StepRow, steps)
    ids = [run["id"] for run in runs]
    await set_ages(api, RunRow, ids)
    return {
        "assistants": Listed("/v1/assistants", ordered(assistants)),
        "messages": Listed(f"/v1/threads/{talk}/messages", messages),
        "runs": Listed(f"/v1/threads/{busy}/runs", ordered(ids)),
        "steps": Listed(where, ordered(steps)),
    }


def page_by_hand(ids: list[str], limit: int, after: str | None, before: str | None) -> tuple[list[str], bool]:
    """Say what a page must hold, of ids in the order that was asked for, and whether there is more."""
    rest = ids[ids.index(after) + 1 :] if after else ids
    rest = [made for made in rest if before is None or ids.index(made) < ids.index(before)]
    page = rest[-limit:] if before and not after else rest[:limit]
    return page, len(rest) > limit


@pytest.mark.parametrize("name", LISTS)
async def test_every_page_is_the_one_that_counting_by_hand_gives(listed: Any, name: str) -> None:
    client, (path, oldest_first) = listed[0], listed[1][name]
    for order in ("asc", "desc", None):
        ids = oldest_first if order == "asc" else oldest_first[::-1]
        marks = [None, ids[0], ids[3], ids[-1]]
        for limit in (1, 3, COUNT):
            for after in marks:
                for before in marks:
                    given = {"order": order, "limit": limit, "after": after, "before": before}
                    query = {key: value for key, value in given.items() if value is not None}
                    page = await get(client, path, **query)
                    expected, more = page_by_hand(ids, limit, after, before)
                    assert [made["id"] for made in page["data"]] == expected, query
                    assert page["has_more"] is more, query
                    ends = (expected[0], expected[-1]) if expected else ("", "")
                    assert (page["first_id"], page["last_id"]) == ends


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_client_that_pages_as_the_sdks_do_sees_each_once_both_ways(listed: Any, name: str, order: str) -> None:
    client, (path, oldest_first) = listed[0], listed[1][name]
    ids = oldest_first if order == "asc" else oldest_first[::-1]
    for cursor, end in (("after", -1), ("before", 0)):
        seen: list[str] = []
        query: dict[str, Any] = {"order": order, "limit": 2}
        if cursor == "before":
            query["before"] = ids[-1]
        while (page := await get(client, path, **query))["data"]:
            found = [made["id"] for made in page["data"]]
            seen = seen + found if cursor == "after" else found + seen
            assert page["has_more"] is (len(seen) < COUNT - (cursor == "before"))
            query[cursor] = found[end]
        assert seen == (ids if cursor == "after" else ids[:-1])


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_is_an_object_of_the_same_list(listed: Any, name: str) -> None:
    client, lists = listed
    foreign = [lists[other].ids[0] for other in LISTS if other != name]
    for param in ("after", "before"):
        for cursor in (*foreign, "msg_unknown", "undefined"):
            answer = await client.get(lists[name].path, params={param: cursor})
            text = f"Invalid '{param}': no object with id '{cursor}' found in this list."
            assert_refused(answer, text, param=param, code="invalid_value")
        answer = await client.get(lists[name].path, params={param: "a\0b"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("name", LISTS)
async def test_an_empty_cursor_is_none(listed: Any, name: str) -> None:
    client, (path, oldest_first) = listed[0], listed[1][name]
    page = await get(client, path, after="", before="")
    assert [made["id"] for made in page["data"]] == oldest_first[::-1]


LOW, HIGH = "integer_below_min_value", "integer_above_max_value"


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("limit", "text", "code"),
    [
        (0, "below minimum value. Expected a value >= 1, but got 0 instead.", LOW),
        (-1, "below minimum value. Expected a value >= 1, but got -1 instead.", LOW),
        (101, "above maximum value. Expected a value <= 100, but got 101 instead.", HIGH),
        (10**17, f"above maximum value. Expected a value <= 100, but got {10**17} instead.", HIGH),
    ],
)
async def test_a_limit_is_1_to_100(listed: Any, name: str, limit: int, text: str, code: str) -> None:
    answer = await listed[0].get(listed[1][name].path, params={"limit": limit})
    assert_refused(answer, f"Invalid 'limit': integer {text}", param="limit", code=code)


@pytest.mark.parametrize("limit", ["", "ten", "1.5", "1_0", "+5", " 5", "٣", "0x10", "null", "9" * 5000], ids=range(10))
async def test_a_limit_is_a_whole_number(listed: Any, limit: str) -> None:
    answer = await listed[0].get("/v1/assistants", params={"limit": limit})
    text = "Invalid type for 'limit': expected an integer, but got a string instead."
    assert_refused(answer, text, param="limit", code="invalid_type")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("order", ["", "ASC", "newest"])
async def test_an_order_is_asc_or_desc(listed: Any, name: str, order: str) -> None:
    answer = await listed[0].get(listed[1][name].path, params={"order": order})
    text = f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'."
    assert_refused(answer, text, param="order", code="invalid_value")


async def test_a_page_has_20_unless_told_otherwise_and_at_most_100(rooms: Any) -> None:
    texts = [f"number {n}" for n in range(101)]
    path = f"/v1/threads/{await new_thread(rooms, *texts)}/messages"
    newest_first = texts[::-1]
    for query, count in (({}, 20), ({"limit": 100}, 100), ({"limit": 1}, 1)):
        page = await get(rooms, path, **query)
        assert [made["content"][0]["text"]["value"] for made in page["data"]] == newest_first[:count]
        assert page["has_more"] is True


async def test_an_empty_list_has_no_ends(rooms: Any) -> None:
    thread = await new_thread(rooms)
    for name in ("messages", "runs"):
        page = await get(rooms, f"/v1/threads/{thread}/{name}")
        assert page == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


async def test_messages_of_one_second_keep_the_order_in_which_they_came(rooms: Any) -> None:
    thread = await new_thread(rooms)
    path = f"/v1/threads/{thread}/messages"
    made = [await post(rooms, path, {"role": "user", "content": f"{n}"}) for n in range(12)]
    assert len({message["created_at"] for message in made}) < 12
    page = await get(rooms, path, order="asc")
    assert page["data"] == made


async def test_pages_of_one_runs_messages_have_their_own_cursors(rooms: Any) -> None:
    thread = await new_thread(rooms, "say exactly: a")
    run = await completed_run(rooms, thread, await new_assistant(rooms))
    path = f"/v1/threads/{thread}/messages"
    question, answer = (await get(rooms, path, order="asc"))["data"]
    page = await get(rooms, path, run_id=run["id"], limit=1)
    assert (page["data"], page["has_more"]) == ([answer], False)
    assert (await get(rooms, path, run_id=run["id"], after=answer["id"]))["data"] == []
    refused = await rooms.get(path, params={"run_id": run["id"], "after": question["id"]})
    text = f"Invalid 'after': no object with id '{question['id']}' found in this list."
    assert_refused(refused, text, param="after", code="invalid_value")


async def test_a_deleted_object_is_no_cursor(rooms: Any) -> None:
    thread = await new_thread(rooms, "a", "b")
    path = f"/v1/threads/{thread}/messages"
    gone = (await get(rooms, path))["data"][0]["id"]
    await rooms.delete(f"{path}/{gone}")
    answer = await rooms.get(path, params={"after": gone})
    text = f"Invalid 'after': no object with id '{gone}' found in this list."
    assert_refused(answer, text, param="after", code="invalid_value")
