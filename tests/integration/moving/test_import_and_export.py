"""Lines that are brought in come out again, the same, wherever they go; pages, scopes and cursors of what goes out."""

from typing import Any

import pytest

from tests.fixtures.calls import assert_refused, get, new_assistant, new_thread, post
from tests.fixtures.rooms import Served
from tests.fixtures.tools import submit, waiting_run
from tests.integration.moving.household import (
    AT,
    Json,
    bring_in,
    everything,
    key_headers,
    message,
    named,
    new_project,
    run,
    suffixed,
    take_out,
    thread,
)

pytestmark = pytest.mark.anyio
TOOL = {"type": "function", "function": {"name": "get_price", "parameters": {"type": "object", "properties": {}}}}


async def test_what_is_brought_in_comes_out_as_it_was_and_goes_into_another_server_the_same(
    old: Any, new: Any, suffix: str
) -> None:
    lines, here, there = suffixed(everything(), suffix), await new_project(old), await new_project(new)
    brought = await bring_in(old, lines, project_id=here)
    assert (brought["refused"], brought["renamed"], brought["late"], brought["skipped"]) == ([], [], [], {})
    assert brought["kept"]
    assert sum(brought["added"].values()) == len(lines)
    out = (await old.get("/admin/export", params={"project_id": here})).content
    assert await take_out(old, project_id=here) == lines
    await bring_in(new, await take_out(old, project_id=here), project_id=there)
    assert (await new.get("/admin/export", params={"project_id": there})).content == out


async def test_a_batch_that_is_sent_again_adds_nothing(old: Any, suffix: str) -> None:
    lines, project = suffixed(everything(), suffix), await new_project(old)
    first = await bring_in(old, lines, project_id=project)
    again = await bring_in(old, lines, project_id=project)
    assert (again["added"], again["skipped"]) == ({}, first["added"])
    assert again["renamed"] == again["refused"] == []
    assert await take_out(old, project_id=project) == lines


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_pages_of_any_size_hold_the_same_lines(old: Any, suffix: str, limit: int) -> None:
    lines, project = suffixed(everything(), suffix), await new_project(old)
    await bring_in(old, lines, project_id=project)
    assert await take_out(old, project_id=project, limit=limit) == lines


async def test_all_projects_come_out_with_their_names_and_are_made_where_they_are_missing(
    houses: tuple[Served, Served], suffix: str
) -> None:
    old, new = houses[0].client, houses[1].client
    project = await new_project(old)
    await bring_in(old, [thread(named("thread_9", suffix))], project_id=project)
    found = await take_out(old)
    [place] = [place for place, line in enumerate(found) if line["id"] == project]
    assert found[place] == {
        "object": "project",
        "id": project,
        "created_at": found[place]["created_at"],
        "name": "a house",
    }
    assert found[place + 1]["id"] == named("thread_9", suffix)
    assert [line for line in found if line["id"] == "proj_default"] == [
        {"object": "project", "id": "proj_default", "name": "Default project"}
    ]
    project_named = {name: found[place][name] for name in ("id", "created_at", "name")}
    for added in ({"project": 1, "thread": 1}, {}):
        assert (await bring_in(new, [found[place + 1]], project=project_named))["added"] == added
    made = await get(new, f"/admin/projects/{project}")
    assert (made["name"], made["created_at"], made["limits"]["requests_per_minute"]) == (
        "a house",
        project_named["created_at"],
        None,
    )


async def test_one_thread_comes_out_with_the_assistant_that_it_is_bound_to(old: Any, suffix: str) -> None:
    lines, project = suffixed(everything(), suffix), await new_project(old)
    await bring_in(old, lines, project_id=project)
    of_one = [line for line in lines if named("thread_1", suffix) in (line["id"], line.get("thread_id"))]
    assert await take_out(old, thread_id=named("thread_1", suffix), limit=3) == of_one
    assert await take_out(old, thread_id=named("thread_1", suffix).replace("thread_", "conv_")) == of_one
    assert [line["id"] for line in await take_out(old, thread_id=named("thread_2", suffix))] == [
        named("asst_2", suffix),
        named("thread_2", suffix),
    ]


@pytest.mark.parametrize(
    ("query", "status", "message", "param"),
    [
        ({"project_id": "proj_nobodys"}, 404, "No project found with id 'proj_nobodys'.", None),
        ({"thread_id": "thread_nobodys"}, 404, "No thread found with id 'thread_nobodys'.", None),
        ({"after": "AAAA"}, 400, "Invalid 'after': no object with id 'AAAA' found in this list.", "after"),
        ({"after": "é"}, 400, "Invalid 'after': no object with id 'é' found in this list.", "after"),
        ({"after": "WyJvbmUiXQ"}, 400, "Invalid 'after': no object with id 'WyJvbmUiXQ' found in this list.", "after"),
        ({"limit": "0"}, 400, "Invalid 'limit': expected an integer between 1 and 1000, but got '0' instead.", "limit"),
        ({"limit": "x"}, 400, "Invalid 'limit': expected an integer between 1 and 1000, but got 'x' instead.", "limit"),
    ],
)
async def test_what_cannot_be_taken_out_is_refused(
    old: Any, query: Json, status: int, message: str, param: str | None
) -> None:
    code = "invalid_value" if status == 400 else None
    assert_refused(await old.get("/admin/export", params=query), message, status=status, param=param, code=code)


async def test_an_unknown_project_takes_nothing_in(old: Any) -> None:
    answer = await old.post("/admin/import", json={"project_id": "proj_nobodys", "lines": []})
    assert_refused(answer, "No project found with id 'proj_nobodys'.", status=404)


async def test_a_thread_with_an_active_run_comes_out_as_it_was_before_that_and_whole_when_it_is_over(old: Any) -> None:
    assistant = await new_assistant(old, tools=[TOOL])
    thread_id = await new_thread(old, "What is the price of ACME?")
    waiting = await waiting_run(old, thread_id, assistant)
    before = await take_out(old, thread_id=thread_id)
    assert [line["object"] for line in before] == ["thread", "thread.message"]
    await bring_in(old, before)
    assert (await submit(old, waiting, "101.25", stream=True)).status_code == 200
    after = await take_out(old, thread_id=thread_id)
    kinds = ["thread", "thread.run", "thread.message", "thread.message", "thread.run.step", "thread.run.step"]
    assert [line["object"] for line in after] == kinds


async def test_a_run_that_ends_while_its_thread_goes_out_is_left_out_to_the_end(old: Any) -> None:
    assistant = await new_assistant(old, tools=[TOOL])
    thread_id = await new_thread(old, "What is the price of ACME?")
    waiting = await waiting_run(old, thread_id, assistant)
    first = await get(old, "/admin/export", thread_id=thread_id, limit=1)
    assert [line["object"] for line in first["data"]] == ["thread"]
    await post(old, f"/v1/threads/{thread_id}/runs/{waiting['id']}/cancel")
    rest = await get(old, "/admin/export", thread_id=thread_id, after=first["after"])
    assert [line["object"] for line in rest["data"]] == ["thread.message"]
    assert rest["after"] is None
    now = {line["object"] for line in await take_out(old, thread_id=thread_id)}
    assert now == {"thread", "thread.message", "thread.run", "thread.run.step"}


async def test_nothing_is_added_to_a_thread_in_which_a_run_is_active(old: Any, suffix: str) -> None:
    assistant = await new_assistant(old, tools=[TOOL])
    thread_id = await new_thread(old, "What is the price of ACME?")
    there = await take_out(old, thread_id=thread_id)
    waiting = await waiting_run(old, thread_id, assistant)
    more, over = message(9, thread_id, id=named("msg_9", suffix)), run(named("run_9", suffix), thread_id=thread_id)
    brought = await bring_in(old, [*there, more, over])
    assert (brought["added"], brought["skipped"]) == ({}, {"thread": 1, "thread.message": 1})
    assert brought["refused"] == [
        {
            "line": number,
            "reason": f"A run is active in its thread '{thread_id}'. Try again when it is over.",
            "thread_id": None,
        }
        for number in (4, 3)
    ]
    await old.post(f"/v1/threads/{thread_id}/runs/{waiting['id']}/cancel")
    assert (await bring_in(old, [more]))["added"] == {"thread.message": 1}


async def test_what_was_deleted_goes_back_to_its_place_in_a_thread_that_went_on(old: Any) -> None:
    thread_id = await new_thread(old, "one", "two", "three")
    lines = await take_out(old, thread_id=thread_id)
    await old.delete(f"/v1/threads/{thread_id}/messages/{lines[2]['id']}")
    await post(old, f"/v1/threads/{thread_id}/messages", {"role": "user", "content": "four"})
    assert (await bring_in(old, lines))["added"] == {"thread.message": 1}
    found = (await get(old, f"/v1/threads/{thread_id}/messages", order="asc"))["data"]
    assert [one["content"][0]["text"]["value"] for one in found] == ["one", "two", "three", "four"]


async def test_what_was_brought_in_can_be_gone_on_with(old: Any, suffix: str) -> None:
    project = await new_project(old)
    await bring_in(old, suffixed(everything(), suffix), project_id=project)
    headers = await key_headers(old, project)
    path = f"/v1/threads/{named('thread_1', suffix)}"
    said = await old.post(f"{path}/messages", json={"role": "user", "content": "more"}, headers=headers)
    assert said.status_code == 200
    listed = await old.get(f"{path}/messages", headers=headers)
    assert [one["id"] for one in listed.json()["data"]] == [
        said.json()["id"],
        *(named(f"msg_{n}", suffix) for n in (8, 4, 1)),
    ]
    steps = await old.get(f"{path}/runs/{named('run_1', suffix)}/steps", params={"order": "asc"}, headers=headers)
    assert [one["id"] for one in steps.json()["data"]] == [named("step_1", suffix), named("step_2", suffix)]
    wanted = {"assistant_id": named("asst_2", suffix), "model": "sovereign-standin"}
    assert (await old.post(f"{path}/runs", json=wanted, headers=headers)).status_code == 200


async def test_lines_of_the_api_s_own_kind_lack_nothing_that_matters(old: Any, suffix: str) -> None:
    project = await new_project(old)
    bare = [
        {"object": "assistant", "id": named("asst_9", suffix), "created_at": AT, "model": "gpt-4o"},
        {"object": "thread", "id": named("thread_9", suffix), "created_at": AT},
        {
            **{
                "object": "thread.message",
                "id": named("msg_9", suffix),
                "thread_id": named("thread_9", suffix),
                "created_at": AT,
            },
            **{"role": "user", "content": "Hello", "run_id": None, "something_new": [1]},
        },
    ]
    assert (await bring_in(old, bare, project_id=project))["refused"] == []
    headers = await key_headers(old, project)
    found = (
        await old.get(f"/v1/threads/{named('thread_9', suffix)}/messages/{named('msg_9', suffix)}", headers=headers)
    ).json()
    assert found["content"] == [{"type": "text", "text": {"value": "Hello", "annotations": []}}]
    assert (found["status"], found["metadata"], found["attachments"]) == ("completed", {}, [])
