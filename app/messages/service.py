"""Rules of messages, and the history that the engine shows the model."""

import logging

from msgspec import UNSET

from app.db.database import Database
from app.db.tables import row_of
from app.engine.context import Told
from app.errors import ApiError
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.messages.history import newest
from app.messages.repository import MessageReader, MessageWriter, remember_tokens
from app.messages.schemas import CreateMessage, Message, MessageDeleted, UpdateMessage, message_of

log = logging.getLogger(__name__)


class MessageService:
    """Adds, changes and lists messages."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, caller: Caller, thread_id: str, body: CreateMessage) -> Message:
        """Add a message at the end of a thread."""
        at = self._clock.now()
        rows = await self._database.write(lambda tx: MessageWriter(tx, caller).append(thread_id, [body], at))
        return message_of(row_of(rows[0]))

    async def page(self, caller: Caller, thread_id: str, run_id: str | None, query: PageQuery) -> Page[Message]:
        """List a thread's messages."""
        return await self._database.read(lambda tx: MessageReader(tx, caller.project_id).page(thread_id, run_id, query))

    async def retrieve(self, caller: Caller, thread_id: str, message_id: str) -> Message:
        """Return one message."""
        row = await self._database.read(lambda tx: MessageReader(tx, caller.project_id).require(thread_id, message_id))
        return message_of(row)

    async def update(self, caller: Caller, thread_id: str, message_id: str, body: UpdateMessage) -> Message:
        """Replace a message's metadata."""
        if body.metadata is UNSET:
            return await self.retrieve(caller, thread_id, message_id)
        metadata, at = body.metadata or {}, self._clock.now()
        row = await self._database.write(
            lambda tx: MessageWriter(tx, caller).set_metadata(thread_id, message_id, metadata, at)
        )
        return message_of(row)

    async def delete(self, caller: Caller, thread_id: str, message_id: str) -> MessageDeleted:
        """Delete a message."""
        at = self._clock.now()
        await self._database.write(lambda tx: MessageWriter(tx, caller).delete(thread_id, message_id, at))
        return MessageDeleted(id=message_id)

    async def history(self, thread_id: str, count: int, until: int | None = None) -> list[Told]:
        """Return a thread's newest messages and what stands among them as the model reads them, oldest first."""
        return await self._database.read(lambda tx: newest(tx, thread_id, count, until))

    async def remember(self, model: str, counts: dict[str, int]) -> None:
        """Keep how many tokens of a model messages take. Counted again when that fails."""
        try:
            await self._database.write(lambda tx: remember_tokens(tx, model, counts))
        except ApiError:
            log.warning("token counts were not kept", extra={"messages": len(counts)})
