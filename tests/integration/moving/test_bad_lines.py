"""Lines that cannot be taken are named and leave nothing behind; the rest is kept, or nothing where that was asked."""

from typing import Any

import pytest

from app.db.tables import AuditRow, table
from tests.fixtures.calls import assert_refused, get
from tests.fixtures.rooms import Served
from tests.integration.moving.household import (
    AT,
    Json,
    bring_in,
    everything,
    message,
    named,
    new_project,
    run,
    step,
    suffixed,
    take_out,
    thread,
)

pytestmark = pytest.mark.anyio
AUDIT = table(AuditRow)
SECRET = "what a user said"


def two_good_and_a_bad_one(suffix: str) -> list[Json]:
    names = [named(f"thread_{number}", suffix) for number in (1, 2, 3)]
    return [thread(names[0]), thread(names[1], created_at=SECRET), thread(names[2])]


async def test_a_bad_line_is_named_and_the_others_are_kept(old: Any, suffix: str) -> None:
    project = await new_project(old)
    brought = await bring_in(old, two_good_and_a_bad_one(suffix), project_id=project)
    reason = "Invalid type for 'created_at': expected an integer, but got a string instead."
    assert brought["refused"] == [{"line": 2, "reason": reason, "thread_id": named("thread_2", suffix)}]
    assert (brought["kept"], brought["added"]) == (True, {"thread": 2})
    assert len(await take_out(old, project_id=project)) == 2


@pytest.mark.parametrize("asked", [{"strict": True}, {"dry_run": True}, {"dry_run": True, "strict": True}])
async def test_nothing_is_kept_where_that_was_asked(old: Any, suffix: str, asked: Json) -> None:
    project = await new_project(old)
    brought = await bring_in(old, two_good_and_a_bad_one(suffix), project_id=project, **asked)
    assert ([one["line"] for one in brought["refused"]], brought["kept"]) == ([2], False)
    assert await take_out(old, project_id=project) == []
    named_one = {"id": f"proj_{suffix}", "created_at": AT, "name": "x"}
    await bring_in(old, two_good_and_a_bad_one(suffix), project=named_one, **asked)
    assert (await old.get(f"/admin/projects/proj_{suffix}")).status_code == 404


async def test_strict_keeps_a_batch_without_fault(old: Any, suffix: str) -> None:
    lines, project = suffixed(everything(), suffix), await new_project(old)
    assert (await bring_in(old, lines, project_id=project, strict=True))["kept"]
    assert await take_out(old, project_id=project) == lines


async def test_what_belongs_to_a_refused_thread_is_refused_with_it(old: Any, suffix: str) -> None:
    project, name = await new_project(old), named("thread_1", suffix)
    lines = [thread(name, metadata=7), message(1, name), thread(name, assistant_id="asst_nobodys"), message(2, name)]
    brought = await bring_in(old, lines, project_id=project)
    assert [(one["line"], one["reason"]) for one in brought["refused"]] == [
        (1, "Invalid type for 'metadata': expected an object, but got an integer instead."),
        (3, "Its assistant 'asst_nobodys' is not here."),
        (2, f"Its thread '{name}' was refused."),
        (4, f"Its thread '{name}' was refused."),
    ]
    assert (brought["added"], await take_out(old, project_id=project)) == ({}, [])


async def test_a_thread_with_a_bad_message_on_its_line_is_refused_whole(old: Any, suffix: str) -> None:
    project = await new_project(old)
    lines = [thread(named("thread_1", suffix), messages=[message(1), message(2, role="tool")])]
    brought = await bring_in(old, lines, project_id=project)
    assert [one["line"] for one in brought["refused"]] == [1]
    assert await take_out(old, project_id=project) == []


async def test_what_refers_to_what_is_not_there_is_refused(old: Any, suffix: str) -> None:
    project = await new_project(old)
    (here, elsewhere, one_step), one_run = (
        (named(n, suffix) for n in ("thread_1", "thread_2", "step_1")),
        named("run_1", suffix),
    )
    details = {"type": "tool_calls", "tool_calls": []}
    lines = [
        thread(here),
        run(one_run, thread_id=elsewhere),
        step(one_step, one_run, 1, details, thread_id=here),
        message(1, here, id=named("msg_1", suffix), run_id=one_run),
    ]
    brought = await bring_in(old, lines, project_id=project)
    assert [(one["line"], one["reason"]) for one in brought["refused"]] == [
        (2, f"Its thread '{elsewhere}' is not here."),
        (3, f"Its run '{one_run}' is not here."),
    ]
    assert brought["added"] == {"thread": 1, "thread.message": 1}


async def test_messages_without_places_stand_in_the_order_of_their_time_and_late_ones_are_named(
    old: Any, suffix: str
) -> None:
    project, name = await new_project(old), named("thread_1", suffix)

    def newest_first(*numbers: int) -> list[Json]:
        return [message(n, name, id=named(f"msg_{n}", suffix), position=None) for n in numbers]

    assert (await bring_in(old, newest_first(9, 8, 7), project_id=project))["late"] == []
    later = await bring_in(old, [*newest_first(8, 10), *newest_first(3)], project_id=project)
    assert (later["late"], later["skipped"]) == ([3], {"thread.message": 1})
    found = [line["id"] for line in await take_out(old, thread_id=name)][1:]
    assert found == [named(f"msg_{n}", suffix) for n in (7, 8, 9, 3, 10)]


async def test_a_message_whose_place_is_taken_stands_at_the_end(old: Any, suffix: str) -> None:
    project, name = await new_project(old), named("thread_1", suffix)
    lines = [message(n, name, id=named(f"msg_{n}", suffix), position=p) for n, p in ((1, 1), (2, 5), (3, 1), (4, 3))]
    for line in lines:
        await bring_in(old, [line], project_id=project)
    found = await take_out(old, thread_id=name)
    assert [(line["id"], line["position"]) for line in found[1:]] == [
        (named(f"msg_{n}", suffix), position) for n, position in ((1, 1), (4, 3), (2, 5), (3, 6))
    ]
    assert found[0]["last_position"] == 6


async def test_a_batch_that_adds_something_leaves_one_record_and_no_content(
    houses: tuple[Served, Served], suffix: str
) -> None:
    on, api = houses[0], houses[0].client
    project, name = await new_project(api), named("thread_1", suffix)
    lines = [message(n, name, id=named(f"msg_{n}", suffix), content=SECRET) for n in (1, 2)]
    await bring_in(api, lines, project_id=project, dry_run=True)
    for _ in range(2):
        await bring_in(api, lines, project_id=project)
    rows = await on.database.read(
        lambda tx: tx.all(AUDIT.select().where(AUDIT.c.object_id == project).order_by(AUDIT.c.seq))
    )
    assert [row.action for row in rows] == ["project.create", "project.import"]
    assert SECRET not in repr(rows)


async def test_a_batch_has_a_bound(old: Any) -> None:
    numbered = [{"line": 1, "entry": {}}] * 1001
    answer = await old.post("/admin/import", json={"lines": numbered})
    expected = "Expected an array with maximum length 1000, but got an array with length 1001 instead."
    text = f"Invalid 'lines': array too long. {expected}"
    assert_refused(answer, text, param="lines", code="array_above_max_length")


async def test_the_list_of_threads_shows_what_was_brought_in_and_no_chains(old: Any, suffix: str) -> None:
    before = {one["id"] for one in (await get(old, "/v1/threads", limit=100))["data"]}
    lines = suffixed(everything(), suffix)
    await bring_in(old, lines)
    after = {one["id"] for one in (await get(old, "/v1/threads", limit=100))["data"]}
    assert after - before == {named("thread_1", suffix), named("thread_2", suffix)}
