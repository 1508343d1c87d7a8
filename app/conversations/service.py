"""Rules of conversations. What they share with threads is the rooms' of threads and items."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.conversations.schemas import (
    Conversation,
    ConversationDeleted,
    CreateConversation,
    UpdateConversation,
    conversation_as_shown,
)
from app.db.database import Database, WriteTx
from app.errors import NotFound
from app.items.compiling import NewItem, compiled
from app.items.names import conversation_of
from app.items.refusals import unknown_conversation
from app.items.repository import ItemReader, ItemWriter
from app.items.schemas import Item, SentItem
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery, page_of
from app.kit.wire import to_json
from app.threads.repository import ThreadReader, ThreadWriter
from app.threads.schemas import CreateThread
from app.threads.service import ThreadService


class ConversationService:
    """Creates, changes and deletes conversations, and what is in them. Each is named by its thread's id."""

    def __init__(self, database: Database, clock: Clock, threads: ThreadService) -> None:
        self._database = database
        self._clock = clock
        self._threads = threads

    async def create(self, caller: Caller, body: CreateConversation) -> Conversation:
        """Keep a new conversation with its first items."""
        items, at = compiled(body.items or [], "items"), self._clock.now()
        return await self._database.write(lambda tx: _create(tx, caller, body, items, at))

    async def retrieve(self, caller: Caller, thread_id: str) -> Conversation:
        """Return one conversation."""
        with _named(thread_id):
            row = await self._database.read(lambda tx: ThreadReader(tx, caller.project_id).require(thread_id))
        return conversation_as_shown(row)

    async def update(self, caller: Caller, thread_id: str, body: UpdateConversation) -> Conversation:
        """Replace a conversation's metadata."""
        values, at = {"metadata": to_json(body.metadata or {})}, self._clock.now()
        with _named(thread_id):
            row = await self._database.write(lambda tx: ThreadWriter(tx, caller).change(thread_id, values, at))
        return conversation_as_shown(row)

    async def delete(self, caller: Caller, thread_id: str) -> ConversationDeleted:
        """Delete a conversation with all that is in it. What is active in it is stopped."""
        with _named(thread_id):
            await self._threads.delete(caller, thread_id)
        return ConversationDeleted(id=conversation_of(thread_id))

    async def add_items(self, caller: Caller, thread_id: str, given: Sequence[SentItem]) -> Page[Item]:
        """Add items at the end of a conversation; return them, in their order."""
        items, at = compiled(given, "items"), self._clock.now()
        added = await self._database.write(lambda tx: _append(tx, caller, thread_id, items, at))
        return page_of(added, has_more=False)

    async def items(self, caller: Caller, thread_id: str, query: PageQuery) -> Page[Item]:
        """List a conversation's items."""
        return await self._database.read(lambda tx: ItemReader(tx, caller.project_id).page(thread_id, query))

    async def item(self, caller: Caller, thread_id: str, item_id: str) -> Item:
        """Return one item."""
        return await self._database.read(lambda tx: ItemReader(tx, caller.project_id).require(thread_id, item_id))

    async def delete_item(self, caller: Caller, thread_id: str, item_id: str) -> Conversation:
        """Delete an item; return the conversation that it was in."""
        at = self._clock.now()
        await self._database.write(lambda tx: ItemWriter(tx, caller).delete(thread_id, item_id, at))
        return await self.retrieve(caller, thread_id)


def _create(tx: WriteTx, caller: Caller, body: CreateConversation, items: Sequence[NewItem], at: int) -> Conversation:
    threads = ThreadWriter(tx, caller)
    thread, _ = threads.create(CreateThread(metadata=body.metadata), at)
    _append(tx, caller, thread.id, items, at)
    return conversation_as_shown(threads.require(thread.id))


def _append(tx: WriteTx, caller: Caller, thread_id: str, items: Sequence[NewItem], at: int) -> list[Item]:
    writer = ItemWriter(tx, caller)
    return writer.append(thread_id, writer.resolved(items), at)


@contextmanager
def _named(thread_id: str) -> Iterator[None]:
    """Say of a thread that is not there that there is no such conversation."""
    try:
        yield
    except NotFound:
        raise unknown_conversation(thread_id) from None
