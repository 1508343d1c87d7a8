"""Chats with the memory of a thread: shown what a run is shown, kept like a run's talk, and never two at once."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from app.chat.memory import ChatTurn
from app.chat.repository import ThreadHold
from app.db.database import Database, WriteTx
from app.db.sqlite import SqliteDatabase
from app.db.tables import AuditRow, table
from app.errors import InvalidRequest, NotFound
from app.inference.failures import ModelUnreachable, PromptTooLong
from app.kit.pages import PageQuery
from app.messages.schemas import CreateMessage
from app.messages.service import MessageService
from tests.fakes.callers import CALLER
from tests.fakes.model import OneModel, ScriptedModel, answer, word_tokens
from tests.integration.db.plans import plans_of
from tests.integration.engine.chats import HELLO, Chats, End
from tests.integration.engine.rig import engine

pytestmark = pytest.mark.anyio

AUDIT = table(AuditRow)
NOW = 1_700_000_000


async def test_a_chat_is_shown_its_thread_and_both_sides_of_it_are_kept(store: Database) -> None:
    model = ScriptedModel(answer("x"))
    async with engine(store, model) as rig:
        chats, thread = Chats(rig), await rig.thread("first")
        chat = await chats.begin(thread, [{"role": "system", "content": "Be brief."}, *HELLO])
        shown = [(message["role"], message["content"]) for message in chat.messages]
        assert shown == [("system", "Be brief."), ("user", "first"), ("user", "hello again")]
        await chat.finish("hello you", "stop")
        now = [("user", "first", None), ("user", "hello again", None), ("assistant", "hello you", None)]
        assert await chats.said(thread) == now
        await rig.run(thread)  # the thread is free, and a run is shown the chat
        assert [message["content"] for message in model.requests[0].messages] == [text for _, text, _ in now]


async def test_a_kept_answer_is_a_message_like_any_other(store: Database) -> None:
    async with engine(store) as rig:
        chats, thread = Chats(rig), await rig.thread()
        await (await chats.begin(thread)).finish("hello you", "stop")
        messages = MessageService(store, rig.clock)
        page = await messages.page(CALLER, thread, None, PageQuery())
        assert [(message.role, message.run_id, message.assistant_id) for message in page.data[:1]] == [
            ("assistant", None, None)
        ]
        rows = await store.read(
            lambda tx: tx.all(select(AUDIT.c.action, AUDIT.c.request_id).where(AUDIT.c.object_id == page.data[0].id))
        )
        assert [tuple(row) for row in rows] == [("message.create", CALLER.request_id)]


@pytest.mark.parametrize("window", [None, 700, 900])
async def test_a_chat_is_shown_what_a_run_on_the_same_thread_is_shown(store: Database, window: int | None) -> None:
    model = ScriptedModel(answer("x"), tokenizer=word_tokens)
    async with engine(store, models=OneModel(model, window=window), context_messages=40) as rig:
        chats = Chats(rig, model=model, window=window, context_messages=40)
        said = [f"{number}: " + "word " * 19 for number in range(60)]
        first, second = await rig.thread(*said), await rig.thread(*said)
        chat = await chats.begin(first, [{"role": "system", "content": "Be brief."}, *HELLO])
        await chats.add(second, HELLO[0]["content"])
        await rig.run(second, instructions="Be brief.")
        assert chat.messages == model.requests[0].messages
        assert (len(chat.messages) == 41) == (window is None)
        assert len(model.counted) == (0 if window is None else 2)


FINISHED: dict[str, tuple[End, list[tuple[str, str, str | None]]]] = {
    "whole": (lambda chat: chat.finish("yes", "stop"), [("assistant", "yes", None)]),
    "calls of tools": (lambda chat: chat.finish("I look", "tool_calls"), [("assistant", "I look", None)]),
    "only calls of tools": (lambda chat: chat.finish("", "tool_calls"), []),
    "at a limit of length": (lambda chat: chat.finish("ye", "length"), [("assistant", "ye", "max_tokens")]),
    "filtered": (lambda chat: chat.finish("ye", "content_filter"), [("assistant", "ye", "content_filter")]),
    "the model broke": (lambda chat: chat.give_up("ye", "run_failed"), [("assistant", "ye", "run_failed")]),
    "the client went away": (lambda chat: chat.give_up("y", "run_cancelled"), [("assistant", "y", "run_cancelled")]),
    "before a word": (lambda chat: chat.give_up("", "run_cancelled"), []),
}


@pytest.mark.parametrize("how", FINISHED)
async def test_every_end_frees_the_thread_once_and_keeps_what_was_said(store: Database, how: str) -> None:
    end, kept = FINISHED[how]
    async with engine(store) as rig:
        chats, thread = Chats(rig), await rig.thread("first")
        chat = await chats.begin(thread)
        assert await chats.holder(thread) == chat.id
        await end(chat)
        before = [("user", "first", None), ("user", "hello again", None)]
        assert await chats.said(thread) == before + kept
        assert await chats.holder(thread) is None
        await asyncio.gather(end(chat), chat.finish("again", "stop"), chat.give_up("again", "run_failed"))
        await chat.take_back()
        assert await chats.said(thread) == before + kept


async def test_what_was_answered_with_an_error_was_not_said(store: Database) -> None:
    async with engine(store) as rig:
        chats, thread = Chats(rig), await rig.thread("first")
        for _ in range(3):  # as an SDK tries again
            chat = await chats.begin(thread, [*HELLO, {"role": "assistant", "content": "hi"}, *HELLO])
            assert len(await chats.said(thread)) == 4
            await chat.take_back()
        assert await chats.said(thread) == [("user", "first", None)]
        assert await chats.holder(thread) is None
        rows = await store.read(
            lambda tx: tx.all(select(AUDIT.c.action, AUDIT.c.object_id).where(AUDIT.c.action == "message.delete"))
        )
        created = await store.read(lambda tx: {row.object_id for row in tx.all(select(AUDIT.c.object_id))})
        assert len(rows) >= 9
        assert {row.object_id for row in rows} <= created


async def test_a_thread_that_a_chat_holds_refuses_all_else_as_one_that_a_run_holds(store: Database) -> None:
    async with engine(store) as rig:
        chats, thread = Chats(rig), await rig.thread()
        chat = await chats.begin(thread)
        with pytest.raises(InvalidRequest, match=f"^Can't add messages to {thread} while a run {chat.id} is active.$"):
            await chats.add(thread)
        for second in (rig.accept(thread), chats.begin(thread)):
            with pytest.raises(InvalidRequest, match=f"^Thread {thread} already has an active run {chat.id}.$"):
                await second
        await chat.finish("yes", "stop")
        run = await rig.accept(thread)
        with pytest.raises(InvalidRequest, match=f"^Thread {thread} already has an active run {run.spec.run_id}.$"):
            await chats.begin(thread)
        assert len(await chats.said(thread)) == 3


async def test_a_thread_of_another_project_is_not_there(store: Database) -> None:
    async with engine(store) as rig:
        chats, thread = Chats(rig), await rig.thread()
        for caller, wanted in ((replace(CALLER, project_id="proj_other"), thread), (CALLER, "thread_none")):
            with pytest.raises(NotFound, match=f"^No thread found with id '{wanted}'.$"):
                await chats.begin(wanted, caller=caller)
        assert len(await chats.said(thread)) == 1


async def later(turns: int, work: Coroutine[Any, Any, Any]) -> Any:
    """Begin some turns of the loop later: a chat reaches the store in a task of its own."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await work


async def test_of_many_chats_and_runs_at_once_exactly_one_gets_the_thread(store: Database) -> None:
    async with engine(store) as rig:
        chats = Chats(rig)
        winners: set[str] = set()
        for number in range(12):
            thread = await rig.thread()
            rivals = [chats.begin(thread), later(number % 4, rig.accept(thread)), chats.begin(thread)]
            rivals.append(later(number % 4, rig.accept(thread)))
            outcomes = await asyncio.gather(*rivals, return_exceptions=True)
            won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            assert [type(lost) for lost in outcomes if isinstance(lost, BaseException)] == [InvalidRequest] * 3
            [winner] = won
            holder = winner.id if isinstance(winner, ChatTurn) else winner.spec.run_id
            assert await chats.holder(thread) == holder
            assert len(await chats.said(thread)) == (2 if isinstance(winner, ChatTurn) else 1)
            winners.add(type(winner).__name__)
        assert winners == {"ChatTurn", "Accepted"}


@pytest.mark.parametrize(
    ("room", "tokenizer", "failure"), [(300, word_tokens, PromptTooLong), (300, "gone", ModelUnreachable)]
)
async def test_a_chat_that_cannot_begin_leaves_its_thread_as_it_was(
    store: Database, room: int, tokenizer: Any, failure: type[Exception]
) -> None:
    def gone(messages: list[dict[str, Any]]) -> list[str]:
        raise ModelUnreachable("The model server cannot be reached.")

    async with engine(store) as rig:
        chats = Chats(rig, window=room, model=ScriptedModel([], tokenizer=gone if tokenizer == "gone" else tokenizer))
        thread = await rig.thread("first")
        with pytest.raises(failure):
            await chats.begin(thread, [{"role": "user", "content": "word " * 1000}])
        assert await chats.said(thread) == [("user", "first", None)]
        assert await chats.holder(thread) is None


async def test_a_server_without_a_tokenizer_is_shown_less_until_it_takes_it(store: Database) -> None:
    async with engine(store) as rig:
        chats = Chats(rig, window=4096)
        chat = await chats.begin(await rig.thread(*("word " * 90 for _ in range(60))))
        sizes = [len(chat.messages)]
        while await chat.shrink():
            sizes.append(len(chat.messages))
        assert len(sizes) == 3
        assert sizes == sorted(set(sizes), reverse=True)
        alone = await Chats(rig, window=4096, context_messages=1).begin(await rig.thread("first"))
        assert (len(alone.messages), await alone.shrink()) == (1, False)


async def test_tools_take_their_part_of_the_window(store: Database) -> None:
    tools = [{"type": "function", "function": {"name": "look", "description": "word " * 600}}]
    async with engine(store) as rig:
        chats = Chats(rig, window=4096)
        said = ["word " * 60 for _ in range(60)]
        bare = await chats.begin(await rig.thread(*said))
        with_tools = await chats.begin(await rig.thread(*said), tools=tools)
        assert 2 < len(with_tools.messages) < len(bare.messages) - 4


async def test_no_statement_of_a_chat_reads_more_than_its_own_rows(sqlite: SqliteDatabase) -> None:
    async with engine(sqlite) as rig:
        thread = await rig.thread()
        body = CreateMessage(role="user", content="hello again")

        def whole(tx: WriteTx) -> None:
            for number in range(2):
                hold = ThreadHold(tx, CALLER, thread, f"chatcmpl-{number}")
                kept = hold.take([body], NOW)
                hold.undo(kept, NOW) if number else hold.end("yes", None, NOW)

        plans = await sqlite.write(lambda tx: plans_of(tx, whole))
        assert [plan for plan in plans if plan.scans or plan.sorts] == []
        assert frozenset().union(*(plan.indexes for plan in plans)) == {"threads.id", "messages.id"}
