"""Who runs, when, and how it ends: slots, the queue, the deadline, failures, deletion, readers that go away."""

import asyncio
import json
import logging

import pytest

from app.db.database import Database
from app.db.sqlite import SqliteDatabase
from app.db.tables import DEFAULT_PROJECT
from app.engine.context import Told
from app.engine.events import TextAdded, TurnRequeued
from app.engine.executor import INTERNAL_FAULT
from app.errors import RateLimited, Unavailable
from app.inference.client import ModelClient
from app.inference.failures import ModelBroke, ModelBusy, ModelRefused, ModelTimedOut, ModelUnreachable
from app.kit.clock import SystemClock
from app.messages.service import MessageService
from tests.fakes import model_wire as wire
from tests.fakes.callers import CALLER
from tests.fakes.model import OneModel, ScriptedModel, answer, finish, text, usage
from tests.fakes.model_faults import stalls
from tests.fakes.model_server import model_server
from tests.integration.engine.rig import (
    EVENTS,
    MESSAGES,
    NEVER_S,
    STEPS,
    Accepted,
    Rig,
    engine,
    kinds,
    over,
    text_of,
    told,
)

pytestmark = pytest.mark.anyio

SECRET = "what nobody may read in a log"
AT_ONCE_S = 0.1
BROKE = ModelBroke("The model server's answer was cut off.")


async def said_by(rig: Rig, run: Accepted) -> list[tuple[str, str | None, str]]:
    """Return what a run said: status, reason, text."""
    rows = await rig.rows(MESSAGES, run)
    return [(row.status, row.incomplete_reason, json.loads(row.content)[0]["text"]["value"]) for row in rows]


async def test_a_run_answers_its_thread(store: Database) -> None:
    model = ScriptedModel(answer("hello", " there"))
    async with engine(store, model) as rig:
        thread = await rig.thread("first", "second")
        run = await rig.run(thread, instructions="Be brief.")
        assert (await rig.run_row(run)).status == "completed"
        assert await said_by(rig, run) == [("completed", None, "hello there")]
        assert await rig.holder(run) is None
        [request] = model.requests
        assert request.messages == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "first"},
            {"role": "user", "content": "second"},
        ]
        await rig.run(thread)
        assert model.requests[1].messages[-1] == {"role": "assistant", "content": "hello there"}


@pytest.mark.parametrize("slots", [1, 3])
async def test_no_more_run_at_once_than_there_are_slots(sqlite: SqliteDatabase, slots: int) -> None:
    gate = asyncio.Event()
    model = ScriptedModel([gate, 0.002, *answer("x")])
    async with engine(sqlite, model, concurrency=slots) as rig:
        started = [await rig.start(await rig.thread(f"{number}")) for number in range(9)]
        statuses = [(await rig.run_row(run)).status for run, _ in started]
        assert statuses == ["in_progress"] * slots + ["queued"] * (9 - slots)
        gate.set()
        for _, topic in started:
            await over(topic)
        assert model.most_open == slots
        asked = [request.messages[0]["content"] for request in model.requests]
        assert sorted(asked) == [str(number) for number in range(9)]
        if slots == 1:
            assert asked == sorted(asked), "first come, first served"


async def test_past_the_queue_a_run_is_refused_until_one_ends(sqlite: SqliteDatabase) -> None:
    gate = asyncio.Event()
    async with engine(sqlite, ScriptedModel([gate, *answer("x")]), concurrency=1, queue_limit=2) as rig:
        started = [await rig.start() for _ in range(3)]
        thread = await rig.thread()
        with pytest.raises(RateLimited) as refused:
            await rig.start(thread)
        assert (refused.value.code, refused.value.retry_after_s) == ("rate_limit_exceeded", 5)
        gate.set()
        for _, topic in started:
            await over(topic)
        assert (await rig.run_row(await rig.run(thread))).status == "completed"


async def test_places_that_are_held_count_before_their_runs_are_committed(sqlite: SqliteDatabase) -> None:
    async with engine(sqlite, concurrency=1, queue_limit=1) as rig:
        held = [rig.executor.reserve(DEFAULT_PROJECT) for _ in range(2)]
        assert [place.starts for place in held] == [True, False]
        with pytest.raises(RateLimited):
            rig.executor.reserve(DEFAULT_PROJECT)
        held[0].release()
        held[0].release()
        assert rig.executor.reserve(DEFAULT_PROJECT).starts
        with pytest.raises(RateLimited):
            rig.executor.reserve(DEFAULT_PROJECT)


async def test_a_run_that_waits_past_its_time_expires_in_the_queue(sqlite: SqliteDatabase) -> None:
    model = ScriptedModel([asyncio.Event()])
    async with engine(sqlite, model, concurrency=1) as rig:
        await rig.start()
        run = await rig.run(expires_after_s=0)
        row = await rig.run_row(run)
        assert (row.status, row.started_at, await rig.holder(run)) == ("expired", None, None)
        assert (len(model.requests), await said_by(rig, run)) == (1, [])


async def test_a_run_in_the_middle_of_its_answer_expires_and_keeps_it(store: Database) -> None:
    model = ScriptedModel([text("half"), asyncio.Event()])
    async with engine(store, model, flush_s=NEVER_S) as rig:
        run = await rig.run(expires_after_s=2)  # of whole seconds, so more than one
        assert (await rig.run_row(run)).status == "expired"
        assert await said_by(rig, run) == [("incomplete", "run_expired", "half")]
        assert [step.status for step in await rig.rows(STEPS, run)] == ["expired"]
        assert (model.open, await rig.holder(run)) == (0, None)


@pytest.mark.parametrize(
    ("failure", "code"),
    [(ModelRefused("no"), "invalid_prompt"), (ModelTimedOut("no"), "server_error")],
    ids=["refused", "timed out"],
)
async def test_a_failure_before_the_first_token_keeps_nothing(store: Database, failure: Exception, code: str) -> None:
    for model in (ScriptedModel([failure]), ScriptedModel([], refusals=[failure])):
        async with engine(store, model) as rig:
            run = await rig.run()
            row = await rig.run_row(run)
            assert (row.status, json.loads(row.last_error)) == ("failed", {"code": code, "message": "no"})
            assert (await said_by(rig, run), await rig.holder(run)) == ([], None)


async def test_a_failure_after_the_first_token_keeps_what_was_said(store: Database) -> None:
    model = ScriptedModel([text("half "), text("an answer"), BROKE])
    async with engine(store, model) as rig:
        run = await rig.run()
        row = await rig.run_row(run)
        error = {"code": "server_error", "message": BROKE.message}
        assert (row.status, json.loads(row.last_error)) == ("failed", error)
        assert await said_by(rig, run) == [("incomplete", "run_failed", "half an answer")]
        [step] = await rig.rows(STEPS, run)
        assert (step.status, json.loads(step.last_error)) == ("failed", error)
        assert (len(model.requests), await rig.holder(run)) == (1, None)


async def test_an_answer_that_follows_a_failed_attempt_is_the_only_one(store: Database) -> None:
    model = ScriptedModel(answer("hello"), refusals=[ModelBusy("full")])
    async with engine(store, model) as rig:
        run, topic = await rig.start()
        events = await rig.read(run.spec.run_id, topic)
        assert await said_by(rig, run) == [("completed", None, "hello")]
        assert [name for name in kinds(events) if name.startswith("Turn")] == [
            "TurnQueued",
            "TurnStarted",
            "TurnRequeued",
            "TurnStarted",
            "TurnCompleted",
        ]
        assert await rig.read(run.spec.run_id, None) == events


async def test_a_run_that_pauses_before_it_asks_again_expires_in_time(sqlite: SqliteDatabase) -> None:
    async with engine(sqlite, ScriptedModel([], refusals=[ModelBusy("full")] * 9)) as rig:
        run = await rig.run(expires_after_s=1)
        assert (await rig.run_row(run)).status == "expired"


async def test_a_fault_of_ours_fails_the_run_and_tells_no_content(
    sqlite: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MessageService):
        async def history(self, thread_id: str, count: int, until: int | None = None) -> list[Told]:
            raise LookupError(thread_id)

    broken = Broken(sqlite, SystemClock())
    async with engine(sqlite, ScriptedModel(answer(SECRET)), conversation=broken) as rig:
        with caplog.at_level(logging.DEBUG):
            run = await rig.run(await rig.thread(SECRET))
        row = await rig.run_row(run)
        assert json.loads(row.last_error) == {"code": INTERNAL_FAULT.code, "message": INTERNAL_FAULT.message}
        assert (row.status, await rig.holder(run)) == ("failed", None)
        [logged] = [record for record in caplog.records if record.exc_info]
        assert logged.__dict__["run_id"] == run.spec.run_id
        assert SECRET not in caplog.text


async def test_a_fault_of_ours_in_the_middle_of_an_answer_keeps_it_and_tells_no_content(
    sqlite: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine(sqlite, ScriptedModel([text(SECRET), ZeroDivisionError()])) as rig:
        with caplog.at_level(logging.DEBUG):
            run = await rig.run()
        assert await said_by(rig, run) == [("incomplete", "run_failed", SECRET)]
        assert (await rig.run_row(run)).status == "failed"
        assert SECRET not in caplog.text


async def test_one_fault_leaves_the_other_runs_alone(sqlite: SqliteDatabase) -> None:
    model = ScriptedModel([text("a"), RuntimeError()], [text("b"), 0.02, finish(), usage()])
    async with engine(sqlite, model) as rig:
        started = [await rig.start() for _ in range(4)]
        for _, topic in started:
            await over(topic)
        statuses = [(await rig.run_row(run)).status for run, _ in started]
        assert sorted(statuses) == [*["completed"] * 3, "failed"], "whichever asked the model first"


async def test_a_run_whose_reader_went_away_completes(store: Database) -> None:
    gate = asyncio.Event()
    async with engine(store, ScriptedModel([text("half"), gate, *answer(" and whole")])) as rig:
        run, topic = await rig.start()
        reading = asyncio.create_task(rig.read(run.spec.run_id, topic))
        await told(topic, TextAdded)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        gate.set()
        await over(topic)
        assert await said_by(rig, run) == [("completed", None, "half and whole")]


async def test_deleting_a_thread_frees_the_model_server_at_once_and_leaves_nothing(
    store: Database, caplog: pytest.LogCaptureFixture
) -> None:
    timeouts = dict.fromkeys(("connect_timeout_s", "first_token_timeout_s", "idle_timeout_s"), 5.0)
    async with model_server() as server:
        client = ModelClient(server.url, **timeouts)
        server.script.append(stalls(wire.role(), wire.text("half")))
        async with engine(store, models=OneModel(client)) as rig:
            run, topic = await rig.start()
            exchange = await server.request()
            await told(topic, TextAdded)
            deleted_at = asyncio.get_running_loop().time()
            await rig.threads.delete(CALLER, run.spec.thread_id)
            assert await exchange.client_left() - deleted_at < AT_ONCE_S
            await over(topic)
            assert [await rig.rows(of, run) for of in (MESSAGES, STEPS, EVENTS)] == [[], [], []]
            assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
            assert rig.executor.reserve(DEFAULT_PROJECT).starts, "its slot is free"
        await client.close()


async def test_a_burst_of_runs_answers_every_thread_once(store: Database) -> None:
    async with engine(store, ScriptedModel([text("a"), 0.001, *answer("b", "c")]), concurrency=8) as rig:
        started = await asyncio.gather(*(rig.start() for _ in range(60)))
        told_of = await asyncio.gather(*(rig.read(run.spec.run_id, topic) for run, topic in started))
        assert {text_of(events) for events in told_of} == {"abc"}
        for run, _ in started:
            assert await said_by(rig, run) == [("completed", None, "abc")]


@pytest.mark.parametrize("ends", ["in time", "too late"])
async def test_a_stop_lets_runs_end_and_queues_the_rest_again(store: Database, ends: str) -> None:
    gate = asyncio.Event()
    model = ScriptedModel([text("half"), gate, *answer(" and whole")])
    async with engine(store, model, concurrency=1) as rig:
        run, topic = await rig.start()
        waiting, _ = await rig.start()
        await told(topic, TextAdded)
        stopping = asyncio.create_task(rig.executor.stop(5 if ends == "in time" else 0.05))
        await asyncio.sleep(0.02)
        if ends == "in time":
            gate.set()
        await stopping
        assert (topic.ended, model.open) == (True, 0)
        statuses = [(await rig.run_row(one)).status for one in (run, waiting)]
        assert statuses == (["completed"] * 2 if ends == "in time" else ["queued"] * 2)
        if ends == "too late":
            assert (await said_by(rig, run), await rig.holder(run)) == ([], run.spec.run_id)


async def test_a_stopping_executor_takes_no_run(sqlite: SqliteDatabase) -> None:
    async with engine(sqlite) as rig:
        await rig.executor.stop(0)
        with pytest.raises(Unavailable, match="stopping"):
            rig.executor.reserve(DEFAULT_PROJECT)


async def test_a_stop_waits_neither_for_the_model_server_nor_for_who_waits_for_a_slot(sqlite: SqliteDatabase) -> None:
    gate = asyncio.Event()
    model = ScriptedModel([gate, *answer("x")], refusals=[ModelUnreachable("away")])
    async with engine(sqlite, model, concurrency=1) as rig:
        away, topic = await rig.start()
        await told(topic, TurnRequeued)
        running, _ = await rig.start()
        waiting, _ = await rig.start()
        async with asyncio.timeout(5):
            stopping = asyncio.create_task(rig.executor.stop(60))
            await asyncio.sleep(AT_ONCE_S)
            assert not stopping.done(), "it waits for the one that runs"
            gate.set()
            await stopping
        statuses = [(await rig.run_row(run)).status for run in (running, waiting, away)]
        assert statuses[0] == "completed"
        assert set(statuses[1:]) <= {"queued", "completed"}
    async with engine(sqlite, ScriptedModel([], refusals=[ModelUnreachable("away")] * 99)) as rig:
        run, topic = await rig.start()
        await told(topic, TurnRequeued)
        async with asyncio.timeout(2):
            await rig.executor.stop(60)
        assert (await rig.run_row(run)).status == "queued"


async def test_a_wait_for_the_model_server_takes_none_of_the_tries_at_a_full_one(sqlite: SqliteDatabase) -> None:
    refusals = [ModelUnreachable("away")] * 3 + [ModelBusy("full")] * 2
    async with engine(sqlite, ScriptedModel(answer("x"), refusals=refusals)) as rig:
        run = await rig.run()
        assert (await rig.run_row(run)).status == "completed"
