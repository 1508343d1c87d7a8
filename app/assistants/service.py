"""Rules of assistants."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from app.assistants.repository import AssistantReader, AssistantWriter
from app.assistants.schemas import Assistant, AssistantDeleted, CreateAssistant, UpdateAssistant, assistant_of
from app.db.database import Database
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.pages import Page, PageQuery
from app.kit.wire import sent_fields, to_json

DOCUMENTS = frozenset({"tools", "tool_resources", "metadata", "response_format"})
SAMPLING = {"temperature": 1.0, "top_p": 1.0}
EMPTY: dict[str, Any] = {"tools": [], "metadata": {}}


class AssistantService:
    """Creates, changes and lists assistants."""

    def __init__(self, database: Database, clock: Clock, default_model: Callable[[], Awaitable[str]]) -> None:
        self._database = database
        self._clock = clock
        self._default_model = default_model

    async def create(self, caller: Caller, body: CreateAssistant) -> Assistant:
        """Keep a new assistant."""
        values = SAMPLING | columns_of(body)
        values |= {"id": new_id("asst"), "created_at": self._clock.now()}
        values["model"] = body.model or await self._default_model()
        row = await self._database.write(lambda tx: AssistantWriter(tx, caller).add(values))
        return assistant_of(row)

    async def page(self, caller: Caller, query: PageQuery) -> Page[Assistant]:
        """List assistants."""
        return await self._database.read(lambda tx: AssistantReader(tx, caller.project_id).page(query))

    async def retrieve(self, caller: Caller, assistant_id: str) -> Assistant:
        """Return one assistant."""
        row = await self._database.read(lambda tx: AssistantReader(tx, caller.project_id).require(assistant_id))
        return assistant_of(row)

    async def update(self, caller: Caller, assistant_id: str, body: UpdateAssistant) -> Assistant:
        """Change what was sent."""
        values = columns_of(body)
        at = self._clock.now()
        row = await self._database.write(lambda tx: AssistantWriter(tx, caller).change(assistant_id, values, at))
        return assistant_of(row)

    async def delete(self, caller: Caller, assistant_id: str) -> AssistantDeleted:
        """Delete an assistant; threads stay, except those bound to it."""
        at = self._clock.now()
        await self._database.write(lambda tx: AssistantWriter(tx, caller).delete(assistant_id, at))
        return AssistantDeleted(id=assistant_id)


def columns_of(body: Struct) -> dict[str, Any]:
    """Return what was sent as column values: documents as JSON, null lists and maps as empty ones."""
    values = sent_fields(body)
    for name in DOCUMENTS & values.keys():
        value = EMPTY.get(name) if values[name] is None else values[name]
        values[name] = None if value is None else to_json(value)
    return values
