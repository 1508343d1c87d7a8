"""Turns of responses on disk: what is kept of them, and that nothing is of one that is not recorded."""

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select, update

from app.db.database import Database
from app.db.tables import DEFAULT_PROJECT, ItemRow, RunRow, ThreadRow, table
from app.engine.context import Answered, Called, PastMessage
from app.engine.events import ReasoningAdded, TextAdded, TurnCompleted
from app.engine.turn import TurnSpec
from app.inference.chunks import Choice, Chunk, Delta, FunctionPiece, ToolCallPiece
from app.inference.failures import ModelBroke
from app.kit.ids import new_id
from app.messages.history import newest
from app.messages.repository import MessageWriter
from app.messages.schemas import CreateMessage
from tests.fakes.callers import CALLER
from tests.fakes.model import OneModel, ScriptedModel, answer, finish, text, usage, word_tokens
from tests.integration.engine.rig import Rig, engine, over, told

pytestmark = pytest.mark.anyio

ITEMS, RUNS, THREADS = table(ItemRow), table(RunRow), table(ThreadRow)
TOOLS = [{"type": "function", "function": {"name": "look_up"}}]


def thought(said: str) -> Chunk:
    return Chunk(choices=[Choice(delta=Delta(reasoning=said))])


CALL = Chunk(
    choices=[
        Choice(delta=Delta(tool_calls=[ToolCallPiece(index=0, function=FunctionPiece(name="look_up", arguments="{}"))]))
    ]
)


async def respond(rig: Rig, thread_id: str, **options: Any) -> TurnSpec:
    """Carry out a turn as a response has it, to its end."""
    changes = {"surface": "response"} | options.pop("changes", {})
    accepted = await rig.accept(thread_id, **options)
    columns = {name: changes[name] for name in ("surface", "whole_context") if name in changes}
    of_run = update(RUNS).where(RUNS.c.id == accepted.spec.run_id).values(columns)
    await rig.database.write(lambda tx: tx.run(of_run))
    spec = replace(accepted.spec, **changes)
    topic = rig.executor.reserve(DEFAULT_PROJECT).submit(spec, accepted.past)
    await over(topic)
    return spec


async def row_of(rig: Rig, spec: TurnSpec) -> Any:
    return await rig.database.read(lambda tx: tx.first(select(RUNS).where(RUNS.c.id == spec.run_id)))


async def items_of(rig: Rig, thread_id: str) -> list[Any]:
    found = select(ITEMS).where(ITEMS.c.thread_id == thread_id).order_by(ITEMS.c.position)
    return list(await rig.database.read(lambda tx: tx.all(found)))


async def test_what_was_reasoned_is_an_item_before_the_message(store: Database) -> None:
    async with engine(store, ScriptedModel([thought("Let me"), thought(" see."), *answer("Gold")])) as rig:
        thread = await rig.thread("hello")
        spec = await respond(rig, thread)
        [item] = await items_of(rig, thread)
        assert (item.type, item.position, item.run_id) == ("reasoning", 2, spec.run_id)
        assert json.loads(item.body)["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
        assert (await row_of(rig, spec)).last_position == 3
        # A model does not read again what it reasoned.
        past = await rig.database.read(lambda tx: newest(tx, thread, 100))
        said = [(item.role, item.content) for item in past if isinstance(item, PastMessage)]
        assert said == [("user", "hello"), ("assistant", "Gold")]
        assert len(past) == 2


async def test_a_turn_that_fails_keeps_what_it_reasoned(store: Database) -> None:
    broke = ModelBroke("The model server's answer was cut off.")
    async with engine(store, ScriptedModel([thought("Hm."), text("Go"), broke])) as rig:
        thread = await rig.thread()
        spec = await respond(rig, thread)
        assert (await row_of(rig, spec)).status == "failed"
        assert [item.type for item in await items_of(rig, thread)] == ["reasoning"]


async def test_an_attempt_that_is_given_up_takes_what_it_reasoned_along(store: Database) -> None:
    async with engine(store, ScriptedModel([thought("Hm."), text("Go"), asyncio.Event()])) as rig:
        thread = await rig.thread()
        accepted = await rig.accept(thread)
        spec = replace(accepted.spec, surface="response")
        topic = rig.executor.reserve(DEFAULT_PROJECT).submit(spec, accepted.past)
        await told(topic, TextAdded)
        assert [item.type for item in await items_of(rig, thread)] == ["reasoning"]
        await rig.executor.stop(0)
        assert (await row_of(rig, spec)).status == "queued"
        assert await items_of(rig, thread) == []


async def test_calls_are_whole_and_the_thread_is_free_for_their_outputs(store: Database) -> None:
    model = ScriptedModel([CALL, finish("tool_calls"), usage()], answer("7"))
    async with engine(store, model) as rig:
        thread = await rig.thread("What is gold at?")
        spec = await respond(rig, thread, tools=TOOLS)
        row = await row_of(rig, spec)
        assert (row.status, row.required_action) == ("completed", None)
        [called] = [
            item for item in await rig.database.read(lambda tx: newest(tx, thread, 9)) if isinstance(item, Called)
        ]

        def put(tx: Any) -> None:
            output = {"id": new_id("fco"), "project_id": DEFAULT_PROJECT, "thread_id": thread, "position": 3}
            output |= {"created_at": 1, "type": "function_call_output", "call_id": called.id, "run_id": None}
            tx.run(insert(ITEMS), output | {"body": json.dumps({"call_id": called.id, "output": "7 dollars"})})
            tx.run(update(THREADS).where(THREADS.c.id == thread).values(last_position=3))

        await rig.database.write(put)
        await respond(rig, thread, tools=TOOLS)
        sent = model.requests[1].messages
        assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
        assert sent[-1] == {"role": "tool", "tool_call_id": called.id, "content": "7 dollars"}


async def test_of_a_turn_that_is_not_recorded_nothing_is_on_disk(store: Database) -> None:
    model = ScriptedModel([thought("Hm."), *answer("Gold")])
    async with engine(store, model) as rig:
        thread = await rig.thread("before", "not this")
        before = await rig.everything()
        place = rig.executor.reserve(DEFAULT_PROJECT)
        other = await rig.accept(await rig.thread(), starts=place.starts)
        spec, accepted = other.spec, await rig.everything()
        spec = replace(spec, surface="response", recorded=False, thread_id=thread, until=1, run_id=new_id("run"))
        spec = replace(spec, said=[PastMessage("user", "secret"), Called("c", "f", "{}"), Answered("c", "out")])
        topic = place.submit(spec, other.past)
        seen = await rig.read(spec.run_id, topic)
        assert isinstance(seen[-1].event, TurnCompleted)
        assert [stamped.seq for stamped in seen] == [*range(1, len(seen) + 1)]
        assert "".join(one.event.text for one in seen if isinstance(one.event, TextAdded)) == "Gold"
        assert any(isinstance(one.event, ReasoningAdded) for one in seen)
        await over(topic)
        assert await rig.everything() == accepted != before
        shown = [message["content"] for message in model.requests[0].messages]
        assert shown == ["before", "secret", "", "out"]


async def test_a_turn_that_needs_the_whole_past_fails_where_it_does_not_fit(store: Database) -> None:
    model = ScriptedModel(answer("short"), tokenizer=word_tokens)
    async with engine(store, models=OneModel(model, window=600)) as rig:
        thread = await rig.thread("hello " * 300, "and " * 300, "now?")
        whole = await respond(rig, thread, changes={"whole_context": True})
        row = await row_of(rig, whole)
        assert (row.status, json.loads(row.last_error)["code"]) == ("failed", "invalid_prompt")
        cut = await respond(rig, thread)
        assert (await row_of(rig, cut)).status == "completed"
        assert len(model.requests) == 1


async def test_a_chain_that_went_on_from_another_has_its_past_up_to_there(store: Database) -> None:
    async with engine(store, ScriptedModel()) as rig:
        first = await rig.thread("one", "two", "three")
        second, third = new_id("chain"), new_id("chain")

        def branch(tx: Any) -> None:
            for made, parent, position in ((second, first, 2), (third, second, 1)):
                columns = {"id": made, "project_id": DEFAULT_PROJECT, "created_at": 1, "metadata": "{}"}
                tx.run(
                    insert(THREADS), columns | {"last_position": 2, "parent_id": parent, "parent_position": position}
                )
                said = [CreateMessage(role="user", content=f"{parent[:5]} {number}") for number in (1, 2)]
                MessageWriter(tx, CALLER).insert(made, said, 1, first=1)

        await rig.database.write(branch)

        async def read(count: int, until: int | None = None) -> list[Any]:
            past = await rig.database.read(lambda tx: newest(tx, third, count, until))
            return [said.content for said in past if isinstance(said, PastMessage)]

        assert await read(100) == ["one", "two", "threa 1", "chain 1", "chain 2"]
        assert await read(100, 1) == ["one", "two", "threa 1", "chain 1"]
        assert await read(2) == ["chain 1", "chain 2"]
