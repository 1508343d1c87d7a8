"""Rules of stored chat completions."""

from collections.abc import Mapping
from typing import Any

from app.db.database import Database
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.kit.wire import to_json
from app.stored.repository import CompletionReader, CompletionWriter
from app.stored.schemas import Document, StoredCompletionDeleted, completion_of, kept


class StoredCompletions:
    """Keeps chat completions, lists, changes and deletes them.

    A completion of a model is found under each of its names: `aliases` leads from them to the one that is served.
    """

    def __init__(self, database: Database, clock: Clock, aliases: Mapping[str, str]) -> None:
        self._database = database
        self._clock = clock
        self._aliases = aliases

    async def keep(self, caller: Caller, request: Mapping[str, Any], completion: Mapping[str, Any]) -> None:
        """Keep a whole `chat.completion`, under its id, which is one of ours, and what it answers.

        `request` is the client's body, decoded, its metadata within the bounds of `Metadata`.
        """
        at = self._clock.now()
        completion = {"created": at, "model": request.get("model"), **completion}  # not every server tells them
        columns = {
            "id": completion["id"],
            "created_at": completion["created"],
            "model": self._served(completion["model"]),
            "metadata": to_json(request.get("metadata") or {}),
            "completion": to_json(kept(request, completion, caller.request_id)),
            "messages": to_json(request["messages"]),
        }
        await self._database.write(lambda tx: CompletionWriter(tx, caller).add(columns, at))

    async def page(
        self, caller: Caller, query: PageQuery, model: str | None, metadata: Mapping[str, str]
    ) -> Page[Document]:
        """List completions, or those of a model, or those that have all of some metadata."""
        served = self._served(model) if model is not None else None
        return await self._database.read(
            lambda tx: CompletionReader(tx, caller.project_id).page(query, served, metadata)
        )

    async def retrieve(self, caller: Caller, completion_id: str) -> Document:
        """Return one completion."""
        row = await self._database.read(lambda tx: CompletionReader(tx, caller.project_id).require(completion_id))
        return completion_of(row)

    async def messages(self, caller: Caller, completion_id: str, query: PageQuery) -> Page[Document]:
        """List the messages that a completion answers."""
        return await self._database.read(
            lambda tx: CompletionReader(tx, caller.project_id).messages(completion_id, query)
        )

    async def update(self, caller: Caller, completion_id: str, metadata: Mapping[str, str]) -> Document:
        """Replace a completion's metadata."""
        at = self._clock.now()
        row = await self._database.write(
            lambda tx: CompletionWriter(tx, caller).set_metadata(completion_id, metadata, at)
        )
        return completion_of(row)

    async def delete(self, caller: Caller, completion_id: str) -> StoredCompletionDeleted:
        """Delete a completion."""
        at = self._clock.now()
        await self._database.write(lambda tx: CompletionWriter(tx, caller).delete(completion_id, at))
        return StoredCompletionDeleted(id=completion_id)

    def _served(self, model: str) -> str:
        return self._aliases.get(model, model)
