"""Chats over the store of an engine's rig, and ways to look at what became of their threads."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import select

from app.chat.memory import ChatMemory, ChatTurn
from app.engine.prompt import Upstream
from app.messages.repository import MessageWriter
from app.messages.schemas import CreateMessage
from app.messages.service import MessageService
from tests.fakes.callers import CALLER
from tests.fakes.model import ScriptedModel, answer
from tests.integration.engine.rig import MESSAGES, THREADS, Rig

HELLO = [{"role": "user", "content": "hello again"}]
End = Callable[[ChatTurn], Awaitable[None]]


class Chats:
    """A memory, and ways to look at what became of a thread."""

    def __init__(self, rig: Rig, *, database: Any = None, **options: Any) -> None:
        self.rig = rig
        self.model: ScriptedModel = options.pop("model", ScriptedModel(answer("x")))
        self.window: int | None = options.pop("window", None)
        conversation = MessageService(rig.database, rig.clock)
        options = {"context_messages": 100} | options
        self.memory = ChatMemory(database or rig.database, rig.clock, conversation=conversation, **options)

    async def begin(self, thread_id: str, messages: list[dict[str, Any]] | None = None, **given: Any) -> ChatTurn:
        upstream = Upstream(self.model, "tiny", self.window)
        caller = given.pop("caller", CALLER)
        return await self.memory.begin(caller, thread_id, messages or HELLO, upstream, **given)

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
