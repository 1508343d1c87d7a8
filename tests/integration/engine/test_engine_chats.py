"""Chats with the memory of a thread: shown what a run is shown, kept like a run's talk, and never two at once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from app.chat.memory import ChatMemory, ChatTurn
from app.db.database import Database, StorageFailed
from app.db.locks import CHAT_HELD_S
from app.db.opening import open_database
from app.db.tables import AuditRow, table
from app.engine.prompt import Room, Upstream
from app.errors import ApiError, InvalidRequest, NotFound
from app.inference.failures import ModelUnreachable, PromptTooLong
from app.kit.clock import Clock
from app.kit.pages import PageQuery
from app.messages.repository import MessageWriter
from app.messages.schemas import CreateMessage
from app.messages.service import MessageService
from tests.fakes.callers import CALLER
from tests.fakes.clock import SetClock
from tests.fakes.database import TroubledDatabase
from tests.fakes.model import OneModel, ScriptedModel, answer, word_tokens
from tests.fixtures.processes import ROOT
from tests.integration.db.closing import aclosed
from tests.integration.engine.rig import MESSAGES, THREADS, Rig, engine

pytestmark = pytest.mark.anyio

AUDIT = table(AuditRow)
WIDE = Room(None, None, None)
HELLO = [{"role": "user", "content": "hello again"}]
End = Callable[[ChatTurn], Awaitable[None]]


class Chats:
    """A memory, and ways to look at what became of a thread."""

    def __init__(self, rig: Rig, *, database: Any = None, clock: Clock | None = None, **options: Any) -> None:
        self.rig = rig
        self.model: ScriptedModel = options.pop("model", ScriptedModel(answer("x")))
        self.window: int | None = options.pop("window", None)
        conversation = MessageService(rig.database, rig.clock)
        options = {"context_messages": 100} | options
        self.memory = ChatMemory(database or rig.database, clock or rig.clock, conversation=conversation, **options)

    async def begin(self, thread_id: str, messages: list[dict[str, Any]] | None = None, **given: Any) -> ChatTurn:
        upstream = Upstream(self.model, "tiny", self.window)
        room = Room(self.window, None, None)
        caller = given.pop("caller", CALLER)
        return await self.memory.begin(caller, thread_id, messages or HELLO, upstream, room, **given)

    async def said(self, thread_id: str) -> list[tuple[str, str, str | None]]:
        """Return what a thread holds: who said it, what, and why it ended early."""
        rows = await self.rig.database.read(
            lambda tx: tx.all(select(MESSAGES).where(MESSAGES.c.thread_id == thread_id).order_by(MESSAGES.c.position))
        )
        assert all((row.status == "incomplete") == (row.incomplete_reason is not None) for row in rows)
        assert all((row.incomplete_at is None) == (row.completed_at is not None) for row in rows)
        return [(row.role, json.loads(row.content)[0]["text"]["value"], row.incomplete_reason) for row in rows]

    async def holder(self, thread_id: str) -> str | None:
        """Return who holds a thread."""
        row = await self.rig.database.read(
            lambda tx: tx.first(select(THREADS.c.active_run_id).where(THREADS.c.id == thread_id))
        )
        assert row is not None
        held: str | None = row.active_run_id
        return held

    async def add(self, thread_id: str, text: str = "an aside") -> None:
        """Add a message from outside."""
        body, at = CreateMessage(role="user", content=text), self.rig.clock.now()
        await self.rig.database.write(lambda tx: MessageWriter(tx, CALLER).append(thread_id, [body], at))


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


@pytest.mark.parametrize("when", ["while it takes the thread", "while it counts"])
async def test_a_client_that_leaves_before_its_chat_began_leaves_the_thread_as_it_was(sqlite: Any, when: str) -> None:
    counting, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedModel):
        async def tokenize(self, *_: Any) -> None:
            counting.set()
            await goes_on.wait()

    troubled = TroubledDatabase(sqlite)
    async with engine(sqlite) as rig:
        chats, thread = Chats(rig, database=troubled, window=300, model=Slow([])), await rig.thread("first")
        if when == "while it takes the thread":
            troubled.gate.clear()
        begun = asyncio.create_task(chats.begin(thread, [{"role": "user", "content": "word " * 300}]))
        if when == "while it counts":
            await counting.wait()
        while troubled.waiting == 0 and when == "while it takes the thread":
            await asyncio.sleep(0)
        begun.cancel()
        await asyncio.sleep(0)
        troubled.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await begun
        assert await chats.said(thread) == [("user", "first", None)]
        assert await chats.holder(thread) is None


async def test_an_end_that_has_begun_is_carried_out_once_though_its_caller_is_cancelled(sqlite: Any) -> None:
    troubled = TroubledDatabase(sqlite)
    async with engine(sqlite) as rig:
        chats, thread = Chats(rig, database=troubled), await rig.thread("first")
        chat = await chats.begin(thread)

        async def answering() -> None:
            try:
                await chat.finish("yes", "stop")
            finally:
                await chat.give_up("ye", "run_cancelled")

        troubled.gate.clear()
        task = asyncio.create_task(answering())
        while troubled.waiting == 0:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # twice: even what is done in `finally` is cut short
        with pytest.raises(asyncio.CancelledError):
            await task
        troubled.gate.set()
        await chats.memory.close()
        assert (await chats.said(thread))[2:] == [("assistant", "yes", None)]
        assert await chats.holder(thread) is None


ENDS: dict[str, End] = {
    "finish": lambda chat: chat.finish("yes", "stop"),
    "give up": lambda chat: chat.give_up("ye", "run_failed"),
    "take back": lambda chat: chat.take_back(),
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_thread_that_is_deleted_under_a_chat_stays_deleted(store: Database, how: str) -> None:
    async with engine(store) as rig:
        chats, thread = Chats(rig), await rig.thread()
        chat = await chats.begin(thread)
        await rig.threads.delete(CALLER, thread)
        await ENDS[how](chat)
        assert await chats.said(thread) == []


async def test_an_answer_that_could_not_be_kept_is_told_and_can_be_kept_later(
    sqlite: Any, caplog: pytest.LogCaptureFixture
) -> None:
    troubled = TroubledDatabase(sqlite)
    async with engine(sqlite) as rig:
        chats, thread = Chats(rig, database=troubled), await rig.thread("first")
        chat = await chats.begin(thread)
        troubled.failures = 2
        with pytest.raises(StorageFailed):
            await chat.finish("yes", "stop")
        await chat.give_up("yes", "run_failed")  # fails, too, and says so where only the operator reads
        assert [record.getMessage() for record in caplog.records] == ["a chat could not let its thread go"]
        assert await chats.holder(thread) == chat.id
        await chat.give_up("yes", "run_failed")
        assert (await chats.said(thread))[2:] == [("assistant", "yes", "run_failed")]
        assert await chats.holder(thread) is None


@pytest.mark.parametrize("who", ["a chat", "a run", "a message"])
async def test_the_lock_of_a_chat_that_nobody_ends_lapses(store: Database, who: str) -> None:
    clock = SetClock(int(time.time()))
    async with engine(store, clock=clock) as rig:
        chats, thread = Chats(rig), await rig.thread("first")
        chat = await chats.begin(thread)

        async def take() -> str | None:
            match who:
                case "a chat":
                    return (await chats.begin(thread, [{"role": "user", "content": "later"}])).id
                case "a run":
                    return (await rig.accept(thread)).spec.run_id
                case _:
                    await chats.add(thread, "later")
                    return chat.id  # a message takes no lock: the one that lapsed is left to lie

        clock.move(CHAT_HELD_S - 2)
        with pytest.raises(ApiError, match=chat.id):
            await take()
        clock.move(4)
        holder = await take()
        assert await chats.holder(thread) == holder
        await chat.finish("at last", "stop")  # kept, though it comes late; what another holds stays held
        assert (await chats.said(thread))[-1] == ("assistant", "at last", None)
        assert await chats.holder(thread) == (None if who == "a message" else holder)


async def test_what_a_dead_process_held_is_released_and_runs_keep_what_is_theirs(store: Database) -> None:
    async with engine(store) as rig:
        chats = Chats(rig)
        held, other = await rig.thread("first"), await rig.thread()
        await chats.begin(held)
        run = await rig.accept(other)
        assert await chats.memory.release_left() >= 1
        assert await chats.holder(held) is None
        assert await chats.holder(other) == run.spec.run_id
        assert await chats.said(held) == [("user", "first", None), ("user", "hello again", None)]
        await (await chats.begin(held)).finish("yes", "stop")


KILLED = """
import asyncio, sys
from app.db.opening import open_database
from app.chat.memory import ChatMemory
from app.engine.prompt import Room, Upstream
from app.kit.clock import SystemClock
from app.messages.service import MessageService
from app.threads.repository import ThreadWriter
from app.threads.schemas import CreateThread
from tests.fakes.callers import CALLER
from tests.fakes.model import ScriptedModel

async def main():
    database, clock = await open_database(sys.argv[1]), SystemClock()
    thread = await database.write(lambda tx: ThreadWriter(tx, CALLER).create(CreateThread(), 1))
    memory = ChatMemory(database, clock, conversation=MessageService(database, clock), context_messages=9)
    said = [{"role": "user", "content": "hello again"}]
    await memory.begin(CALLER, thread.id, said, Upstream(ScriptedModel([]), "tiny", None), Room(None, None, None))
    print(thread.id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_after_kill_minus_nine_what_was_said_is_there_and_the_thread_is_free(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sovereign_assistant.db"
    process = subprocess.Popen([sys.executable, "-c", KILLED, url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    thread = process.stdout.readline().strip()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert thread.startswith("thread_")
    async with aclosed(await open_database(url)) as database, engine(database) as rig:
        chats = Chats(rig)
        assert (await chats.holder(thread) or "").startswith("chatcmpl-")
        assert await chats.memory.release_left() == 1
        assert await chats.said(thread) == [("user", "hello again", None)]
        assert len((await chats.begin(thread)).messages) == 2
