"""GET …/runs/{id}/events: what a live stream told is told again, from any number on, while the run lasts and after."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db.tables import RunEventsRow, table
from app.engine.pruning import prune
from tests.conformance.sse import ServerEvent, parse
from tests.fakes.model_faults import cuts, replies, stalls, trickles
from tests.fakes.model_server import model_server
from tests.fakes.model_tools import calling, calls, function, says_and_waits
from tests.fakes.model_wire import DONE, REFUSALS, finish, role, text, usage
from tests.fixtures.calls import (
    assert_refused,
    became,
    completed_run,
    ended,
    get,
    new_assistant,
    new_run,
    new_thread,
    post,
    texts_of,
)
from tests.fixtures.rooms import Scripted, served
from tests.fixtures.tools import names, path_of, submit, told, waiting_run

pytestmark = pytest.mark.anyio

PRICE = function("get_price")


async def streamed(api: Any, thread: str, assistant: str, **fields: Any) -> Any:
    """Start a run and read its stream to the end; return the answer."""
    return await api.post(f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": True, **fields})


async def replayed(api: Any, run: Any, after: int | None = None, **headers: str) -> Any:
    """Read a run's events; return the answer."""
    query = {} if after is None else {"after": str(after)}
    return await api.get(f"{path_of(run)}/events", params=query, headers=headers)


def unnumbered(events: list[ServerEvent]) -> list[tuple[str | None, bytes]]:
    return [(event.event, event.data) for event in events]


def behind(events: list[ServerEvent], number: int) -> list[tuple[str | None, bytes]]:
    """Return what follows the first frame with a number, which ends its event: those behind it have it from there."""
    last = next((place for place, event in enumerate(events) if event.id == str(number)), -1)
    return unnumbered(events[last + 1 :])


async def test_a_replay_tells_what_the_live_stream_told(rooms: Any) -> None:
    thread = await new_thread(rooms, "repeat 20 words")
    live = await streamed(rooms, thread, await new_assistant(rooms))
    run = told(live)[-1][1]
    answer = await replayed(rooms, run)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert unnumbered(parse(answer.content)) == unnumbered(parse(live.content))
    assert (await replayed(rooms, run)).content == answer.content


async def test_numbers_rise_one_by_one_and_end_each_event(rooms: Any) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "repeat 5 words"), await new_assistant(rooms))
    events = parse((await replayed(rooms, run)).content)
    numbers = list(dict.fromkeys(event.id for event in events))
    # The first frame of the first event has no number yet; `created` and `queued` are one event of the run.
    assert (events[0].id, events[1].id, events[1].event) == (None, "1", "thread.run.queued")
    assert numbers == [None, *map(str, range(1, len(numbers)))]
    assert events[-2].event == "thread.run.completed"


async def test_a_reader_goes_on_from_any_number(rooms: Any) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "repeat 5 words"), await new_assistant(rooms))
    whole = parse((await replayed(rooms, run)).content)
    last = int(whole[-2].id or 0)
    for number in range(last + 1):
        for rest in (
            await replayed(rooms, run, number),
            await replayed(rooms, run, **{"Last-Event-ID": str(number)}),
            await replayed(rooms, run, number, **{"Last-Event-ID": "1"}),
        ):
            assert unnumbered(parse(rest.content)) == behind(whole, number), number
    for beyond in (last, last + 1, 10**15):
        assert (await replayed(rooms, run, beyond)).content == b"event: done\ndata: [DONE]\n\n"


async def test_readers_that_join_while_it_runs_are_told_everything_once(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.append(says_and_waits(gate, "one", " two"))
    thread, assistant = await new_thread(api, "x"), await new_assistant(api, model="tiny")
    live = asyncio.create_task(streamed(api, thread, assistant))
    await scripted.chat()
    run = (await get(api, f"/v1/threads/{thread}/runs"))["data"][0]
    from_start = asyncio.create_task(replayed(api, run))
    await asyncio.sleep(0.05)
    late, resumed = asyncio.create_task(replayed(api, run)), asyncio.create_task(replayed(api, run, 4))
    await asyncio.sleep(0.02)
    assert not (from_start.done() or late.done() or resumed.done())
    gate.set()
    whole = parse((await from_start).content)
    assert unnumbered(whole) == unnumbered(parse((await live).content))
    assert (await late).content == (await from_start).content == (await replayed(api, run)).content
    assert unnumbered(parse((await resumed).content)) == behind(whole, 4)


async def test_a_replay_pauses_and_goes_on_with_the_run_that_waits_for_outputs(rooms: Any) -> None:
    assistant, thread = await new_assistant(rooms, tools=[PRICE]), await new_thread(rooms, "get_price of ACME")
    first = await streamed(rooms, thread, assistant)
    run = told(first)[-1][1]
    paused = parse((await replayed(rooms, run)).content)
    assert unnumbered(paused) == unnumbered(parse(first.content))
    assert paused[-2].event == "thread.run.requires_action"
    second = await submit(rooms, run, "101.25", stream=True)
    whole = await replayed(rooms, run)
    assert told(whole) == told(first) + told(second)
    assert told(await replayed(rooms, run, int(paused[-2].id or 0))) == told(second)


async def test_a_reader_that_follows_through_the_outputs_is_told_the_rest(scripted: Scripted) -> None:
    api, gate = scripted.client, asyncio.Event()
    scripted.model.script.extend([calls(calling("get_price", "{}")), says_and_waits(gate, "at last")])
    assistant = await new_assistant(api, model="tiny", tools=[PRICE])
    run = await waiting_run(api, await new_thread(api, "x"), assistant)
    seen = int(parse((await replayed(api, run)).content)[-2].id or 0)
    assert (await submit(api, run, "7")).status_code == 200
    reading = asyncio.create_task(replayed(api, run, seen))
    while len(scripted.asked) < 2:
        await asyncio.sleep(0.005)
    gate.set()
    events = told(await reading)
    assert names(events)[:3] == ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]
    assert events[-1] == ("thread.run.completed", await ended(api, run))


async def test_an_attempt_that_was_given_up_is_closed_for_its_readers(scripted: Scripted) -> None:
    api = scripted.client
    scripted.model.script.append(cuts(role()))
    thread = await new_thread(api, "x")
    live = await streamed(api, thread, await new_assistant(api, model="tiny"))
    events = told(live)
    assert names(events) == [
        *("thread.run.created", "thread.run.queued", "thread.run.in_progress"),
        *("thread.run.step.created", "thread.run.step.in_progress"),
        *("thread.message.created", "thread.message.in_progress"),
        *("thread.message.incomplete", "thread.run.step.failed"),
        *("thread.run.queued", "thread.run.in_progress"),
        *("thread.run.step.created", "thread.run.step.in_progress"),
        *("thread.message.created", "thread.message.in_progress", "thread.message.delta", "thread.message.completed"),
        *("thread.run.step.completed", "thread.run.completed"),
    ]
    run = events[-1][1]
    assert told(await replayed(api, run)) == events
    assert await texts_of(api, thread) == ["x", "hello there"]
    lost = next(data for name, data in events if name == "thread.message.incomplete")
    assert (await api.get(f"/v1/threads/{thread}/messages/{lost['id']}")).status_code == 404


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_run_that_ended_badly_is_replayed_as_it_was_told(scripted: Scripted, end: str) -> None:
    api = scripted.client
    failure = replies(*REFUSALS["image to a text model"])
    scripted.model.script.append(failure if end == "failed" else stalls(role(), text("half")))
    thread = await new_thread(api, "x")
    live = asyncio.create_task(streamed(api, thread, await new_assistant(api, model="tiny")))
    await scripted.chat()
    if end == "cancelled":
        run = (await get(api, f"/v1/threads/{thread}/runs"))["data"][0]
        await post(api, f"{path_of(run)}/cancel")
    events = told(await live)
    assert events[-1][0] == f"thread.run.{end}"
    assert told(await replayed(api, events[-1][1])) == events


async def test_a_deleted_runs_events_are_gone(rooms: Any) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    await rooms.delete(f"/v1/threads/{run['thread_id']}")
    answer = await replayed(rooms, run)
    assert_refused(answer, f"No thread found with id '{run['thread_id']}'.", status=404)


async def test_an_unknown_run_has_no_events(rooms: Any) -> None:
    thread = await new_thread(rooms)
    answer = await rooms.get(f"/v1/threads/{thread}/runs/run_nobody/events")
    assert_refused(answer, "No run found with id 'run_nobody'.", status=404)
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    answer = await rooms.get(f"/v1/threads/{thread}/runs/{run['id']}/events")
    assert_refused(answer, f"No run found with id '{run['id']}'.", status=404)


@pytest.mark.parametrize("after", ["", "-1", "x", "1.5", "+1", "٣", "9" * 5000])
async def test_a_number_that_is_none_is_refused(rooms: Any, after: str) -> None:
    run = await completed_run(rooms, await new_thread(rooms, "x"), await new_assistant(rooms))
    refused = "Invalid type for 'after': expected an integer, but got a string instead."
    answer = await rooms.get(f"{path_of(run)}/events", params={"after": after})
    assert_refused(answer, refused, param="after", code="invalid_type")
    for number in (None, 1) if after and after.isascii() else ():  # an empty header is how some send none
        answer = await replayed(rooms, run, number, **{"Last-Event-ID": after})
        assert_refused(answer, refused, param="after", code="invalid_type")


async def test_events_are_kept_for_a_while_and_then_forgotten_all_at_once(conformance: Any, database_url: str) -> None:
    slow = trickles(role(), *(text(f"{n} ") for n in range(6)), finish(), usage(6), DONE, every_s=0.02)
    events = table(RunEventsRow)
    async with model_server() as model:
        env = {"DATABASE_URL": database_url, "MODEL_URL": model.url, "RUN_FLUSH_MS": "5"}
        async with served(conformance, **env) as on:
            api = on.client
            model.script.extend([slow, stalls(role(), text("still at it"))])
            assistant = await new_assistant(api, model="tiny")
            run = await completed_run(api, await new_thread(api, "x"), assistant)
            active = await became(api, await new_run(api, await new_thread(api, "y"), assistant), "in_progress")
            whole = await replayed(api, run)

            async def rows(run: Any) -> int:
                count = select(func.count()).select_from(events).where(events.c.run_id == run["id"])
                return int(await on.database.read(lambda tx: tx.all(count)[0][0]))

            assert await rows(run) > 3
            assert await on.database.write(lambda tx: prune(tx, run["completed_at"])) == 0
            assert (await replayed(api, run)).content == whole.content
            # A second later none of them is left: half of a run's events could not be told.
            await on.database.write(lambda tx: prune(tx, run["completed_at"] + 1))
            assert await rows(run) == 0
            answer = await replayed(api, run)
            assert_refused(answer, f"The events of run {run['id']} are no longer kept.", code="events_expired")
            assert await rows(active) > 0
            assert (await get(api, path_of(run)))["status"] == "completed"
            assert await texts_of(api, run["thread_id"]) == ["x", "0 1 2 3 4 5 "]
            await post(api, f"{path_of(active)}/cancel")
