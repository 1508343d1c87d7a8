"""Chats whose clients leave, whose threads or stores go away, and whose process is killed: no thread stays held."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.db.database import Database, StorageFailed
from app.db.locks import CHAT_HELD_S
from app.db.opening import open_database
from app.errors import ApiError
from tests.fakes.callers import CALLER
from tests.fakes.clock import SetClock
from tests.fakes.database import TroubledDatabase
from tests.fakes.model import ScriptedModel
from tests.fixtures.processes import ROOT
from tests.integration.db.closing import aclosed
from tests.integration.engine.chats import Chats, End
from tests.integration.engine.rig import engine

pytestmark = pytest.mark.anyio

SOON_S = 5.0


async def held_back(troubled: TroubledDatabase) -> None:
    """Wait until a write waits for the gate."""
    while troubled.waiting == 0:
        await asyncio.sleep(0)


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
        async with asyncio.timeout(SOON_S):
            await (counting.wait() if when == "while it counts" else held_back(troubled))
        begun.cancel()
        await asyncio.sleep(0)
        troubled.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(begun, SOON_S)
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
        async with asyncio.timeout(SOON_S):
            await held_back(troubled)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # twice: even what is done in `finally` is cut short
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, SOON_S)
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
import asyncio, os, sys, traceback
from app.db.opening import open_database
from app.chat.memory import ChatMemory
from app.engine.prompt import Upstream
from app.kit.clock import SystemClock
from app.messages.service import MessageService
from app.threads.repository import ThreadWriter
from app.threads.schemas import CreateThread
from tests.fakes.callers import CALLER
from tests.fakes.model import ScriptedModel

async def main():
    database, clock = await open_database(sys.argv[1]), SystemClock()
    thread, _ = await database.write(lambda tx: ThreadWriter(tx, CALLER).create(CreateThread(), 1))
    memory = ChatMemory(database, clock, conversation=MessageService(database, clock), context_messages=9)
    said = [{"role": "user", "content": "hello again"}]
    await memory.begin(CALLER, thread.id, said, Upstream(ScriptedModel([]), "tiny", None))
    print(thread.id, flush=True)
    await asyncio.Event().wait()

try:
    asyncio.run(main())
except BaseException:
    traceback.print_exc()
    os._exit(1)  # not held up by the threads of what was opened
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
