"""From the input that a client sent to what is kept of it, and shown to the model, given what it comes after."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from app.engine.context import PastMessage, Told
from app.errors import InvalidRequest
from app.items.compiling import Kept, NewItem, NewRowItem, Reference
from app.items.refusals import unknown_reference
from app.items.repository import ItemReader
from app.messages.calls import told_in_item
from app.messages.content import chat_content
from app.messages.history import CHAIN

Lineage = Sequence[tuple[str, int]]
"""Threads, each with its newest position that counts."""


class Before(Struct, frozen=True):
    """What a response comes after: a thread up to a position."""

    thread_id: str
    position: int

    @property
    def chained(self) -> bool:
        """Tell whether it is a chain: a thread of responses that belong to no conversation."""
        return self.thread_id.startswith(CHAIN)


def fitted(reader: ItemReader, items: Sequence[NewItem], before: Before | None) -> list[Kept]:
    """Return an input with references replaced by copies of what they name, unless that stands before already.

    Raises NotFound for a reference that leads nowhere, and InvalidRequest for the output of a call that nobody made.
    """
    looked_up = any(isinstance(item, Reference) or _answers(item) for item in items)
    lineage = reader.lineage(before.thread_id, before.position) if looked_up and before is not None else []
    kept = list(_resolved(reader, items, lineage))
    called = {item.call_id for item in kept if isinstance(item, NewRowItem) and item.type == "function_call"}
    for call_id in filter(None, map(_answers, kept)):
        if call_id not in called and not reader.call_known(lineage, call_id):
            raise InvalidRequest(f"No tool call found for function call output with call_id {call_id}.", param="input")
    return kept


def _answers(item: NewItem) -> str | None:
    """Return the id of the call whose output an item is."""
    return item.call_id if isinstance(item, NewRowItem) and item.type == "function_call_output" else None


def _resolved(reader: ItemReader, items: Sequence[NewItem], lineage: Lineage) -> Iterator[Kept]:
    for item in items:
        if not isinstance(item, Reference):
            yield item
            continue
        found = reader.find(item.id)
        if found is None:
            raise unknown_reference(item.id, "input")
        if not any(found.thread_id == thread_id and found.position <= until for thread_id, until in lineage):
            yield found.kept


def all_told(items: Sequence[NewItem]) -> list[Told] | None:
    """Return an input that comes after nothing as the engine reads it; None where it refers to what is kept."""
    kept = [item for item in items if not isinstance(item, Reference)]
    return told(kept) if len(kept) == len(items) else None


def told(items: Sequence[Kept]) -> list[Told]:
    """Return items as the engine reads what was said."""
    said: list[Told] = []
    for item in items:
        if isinstance(item, NewRowItem):
            said += told_in_item(item.type, item.body)
        else:
            said.append(PastMessage(item.role, chat_content(item.content)))
    return said
