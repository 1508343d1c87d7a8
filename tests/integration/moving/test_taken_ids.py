"""Ids that are taken: by the same thing, which stays, or by another, beside which a line gets an id that it keeps."""

from typing import Any

import pytest

from app.kit.ids import twin
from app.moving.naming import renamed
from tests.fixtures.calls import get, new_thread, post, texts_of
from tests.integration.moving.household import (
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
REMEMBERED = ("vector_store", "assistant", "thread")


def with_names(lines: list[Json], names: dict[str, str]) -> list[Json]:
    """Return lines with other ids, wherever they are named."""
    return [_with_names(line, names) for line in lines]


def _with_names(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_names(below, names) for key, below in value.items()}
    if isinstance(value, list):
        return [_with_names(below, names) for below in value]
    return names.get(value, value) if isinstance(value, str) else value


async def test_what_is_in_another_project_is_brought_in_once_beside_it_and_refers_to_itself(
    old: Any, suffix: str
) -> None:
    lines, theirs, ours = suffixed(everything(), suffix), await new_project(old), await new_project(old)
    await bring_in(old, lines, project_id=theirs)
    brought = await bring_in(old, lines, project_id=ours)
    assert (sum(brought["added"].values()), brought["refused"]) == (len(lines), [])
    names = {one["id"]: one["new_id"] for one in brought["renamed"]}
    assert names.keys() == {line["id"] for line in lines}
    assert len(set(names.values()) - names.keys()) == len(names)
    found, expected = await take_out(old, project_id=ours), with_names(lines, names)
    by_id = sorted(expected, key=lambda line: str(line["id"]))
    assert sorted(found, key=lambda line: str(line["id"])) == by_id
    assert names[named("resp_2", suffix)].removeprefix("resp_") == names[named("run_2", suffix)].removeprefix("run_")
    assert await take_out(old, project_id=theirs) == lines


async def test_a_response_goes_on_being_its_runs_twin_when_the_runs_other_id_is_taken_too(
    old: Any, suffix: str
) -> None:
    lines, theirs, ours = suffixed(everything(), suffix), await new_project(old), await new_project(old)
    await bring_in(old, lines, project_id=theirs)
    taken = renamed(ours, named("run_2", suffix))
    thread_id = named("thread_9", suffix)
    await bring_in(old, [thread(thread_id), run(taken, thread_id=thread_id)], project_id=ours)
    for _ in range(2):
        brought = await bring_in(old, lines, project_id=ours)
        names = {one["id"]: one["new_id"] for one in brought["renamed"]}
        assert names[named("run_2", suffix)] == renamed(ours, named("run_2", suffix), 2)
        assert names[named("resp_2", suffix)] == twin(names[named("run_2", suffix)], "resp")
    assert brought["added"] == {}


async def test_a_second_time_finds_what_the_first_one_brought_in_a_batch_at_a_time(old: Any, suffix: str) -> None:
    lines, theirs, ours = suffixed(everything(), suffix), await new_project(old), await new_project(old)
    await bring_in(old, lines, project_id=theirs)
    first = await bring_in(old, lines, project_id=ours)
    names: dict[str, str] = {}
    for line in lines:
        again = await bring_in(old, [line], project_id=ours, renamed=names)
        assert (again["added"], sum(again["skipped"].values())) == ({}, 1)
        names |= {one["id"]: one["new_id"] for one in again["renamed"] if one["object"] in REMEMBERED}
    assert names.items() <= {one["id"]: one["new_id"] for one in first["renamed"]}.items()


async def test_lines_of_their_own_find_their_thread_under_its_new_id_without_being_told(old: Any, suffix: str) -> None:
    name, theirs, ours = named("thread_1", suffix), await new_project(old), await new_project(old)
    await bring_in(old, [thread(name)], project_id=theirs)
    first, second = (message(number, name, id=named(f"msg_{number}", suffix)) for number in (1, 2))
    made = await bring_in(old, [first], project_id=ours)
    assert made["added"] == {"thread": 1, "thread.message": 1}
    [renamed] = made["renamed"]
    assert renamed["id"] == name
    assert (await bring_in(old, [first, second], project_id=ours))["added"] == {"thread.message": 1}
    found = await take_out(old, thread_id=renamed["new_id"])
    assert [line["id"] for line in found[1:]] == [first["id"], second["id"]]


async def test_a_thread_that_was_changed_since_is_brought_in_beside_it_with_all_of_its_messages(old: Any) -> None:
    thread_id = await new_thread(old, "one", "two")
    lines = await take_out(old, thread_id=thread_id)
    await post(old, f"/v1/threads/{thread_id}", {"metadata": {"changed": "yes"}})
    for added in ({"thread": 1, "thread.message": 2}, {}):
        brought = await bring_in(old, lines)
        assert brought["added"] == added
        assert [one["id"] for one in brought["renamed"]] == [line["id"] for line in lines]
    copy = brought["renamed"][0]["new_id"]
    assert (await get(old, f"/v1/threads/{thread_id}"))["metadata"] == {"changed": "yes"}
    assert (await get(old, f"/v1/threads/{copy}"))["metadata"] == {}
    assert await texts_of(old, thread_id) == await texts_of(old, copy) == ["one", "two"]


async def test_two_objects_with_one_id_in_a_batch_are_two(old: Any, suffix: str) -> None:
    project, name = await new_project(old), named("thread_1", suffix)
    lines = [thread(name), thread(name), thread(name, metadata={"a": "b"})]
    brought = await bring_in(old, lines, project_id=project)
    assert (brought["added"], brought["skipped"]) == ({"thread": 2}, {"thread": 1})
    assert [one["line"] for one in brought["renamed"]] == [3]


async def test_nothing_of_another_project_can_be_seen_or_changed_by_what_is_brought_in(old: Any, suffix: str) -> None:
    theirs, ours = await new_project(old), await new_project(old)
    lines = suffixed(everything(), suffix)
    await bring_in(old, lines, project_id=theirs)
    mine = message(5, named("thread_1", suffix), id=named("msg_9", suffix))
    bound = thread(named("thread_9", suffix), assistant_id=named("asst_2", suffix))
    brought = await bring_in(old, [mine, bound], project_id=ours)
    assert brought["refused"] == [
        {
            "line": 2,
            "reason": f"Its assistant '{named('asst_2', suffix)}' is not here.",
            "thread_id": named("thread_9", suffix),
        }
    ]
    assert await take_out(old, project_id=theirs) == lines
    headers = await key_headers(old, ours)
    listed = (await old.get("/v1/threads", headers=headers)).json()["data"]
    assert [one["id"] for one in listed] == [brought["renamed"][0]["new_id"]]
