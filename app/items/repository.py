"""Items of one project: read and written over the three tables that hold them, in the order of their positions."""

from collections.abc import Callable, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import Row

from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.repository import wrong_cursor
from app.db.tables import row_of
from app.errors import NotFound
from app.items.compiling import PREFIXES, Kept, NewItem, NewRowItem, Reference
from app.items.refusals import conversation_locked, unknown_conversation, unknown_item, unknown_reference
from app.items.rows import CALL, OUTPUT, copy_of, item_of, message_item, step_items, step_without
from app.items.schemas import Item
from app.items.statements import (
    ADD,
    DELETE,
    FIND_CALL,
    FIND_CALL_ANYWHERE,
    FIND_CALL_OF_CLIENT,
    FIND_ITEM,
    FIND_MESSAGE,
    HOLD_STEP,
    OF_RUN,
    PARENT,
    PLACED,
    SET_DETAILS,
)
from app.kit.caller import Caller
from app.kit.ids import TIME_DIGITS, base62, millis_of, new_id, twin
from app.kit.pages import Page, PageQuery, page_of
from app.kit.wire import to_json
from app.messages.history import CHAIN, END
from app.messages.repository import MessageReader, MessageWriter
from app.messages.schemas import NewMessage

LONGEST_ANSWER_MS = 86_400_000
"""A call is made this long after its step was begun, or sooner: a run expires after a day at most."""
MOST_FORKS = 1000
"""So many threads are gone back through."""

Placed = tuple[int, list[Item]]


class Found(Struct, frozen=True, kw_only=True):
    """An item and where it is. `kept` is what would keep it once more, `step_id` the step whose call it is of."""

    thread_id: str
    position: int
    item: Item
    kept: Kept
    step_id: str | None = None


class ItemReader:
    """Reads the items of one project."""

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id

    def require_conversation(self, thread_id: str) -> None:
        """Raise NotFound for a thread that is not there, and speak of a conversation."""
        try:
            MessageReader(self._tx, self.project_id).require_thread(thread_id)
        except NotFound:
            raise unknown_conversation(thread_id) from None

    def page(self, thread_id: str, query: PageQuery) -> Page[Item]:
        """Return one page of a thread's items; `before` is not looked at. Raises NotFound, and InvalidRequest for a
        cursor that is not in the list.

        The cost is that of the page, whatever the length of the thread.
        """
        self.require_conversation(thread_id)
        ascending, low, high = query.order == "asc", 0, END
        if query.after is not None:
            mark = self._find_in(thread_id, query.after)
            if mark is None:
                raise wrong_cursor("after", query.after)
            low, high = (mark.position, END) if ascending else (0, mark.position)
        # Two more than a page: the cursor's row, which may hold items of this page, and one that tells of more.
        count = query.limit + 2
        rows = self._placed(PLACED[ascending], thread_id, low, high, count, ascending=ascending)[:count]
        items = list(chain.from_iterable(held if ascending else held[::-1] for _, held in rows))
        if query.after is not None:
            items = items[[item.id for item in items].index(query.after) + 1 :]
        return page_of(items[: query.limit], has_more=len(items) > query.limit)

    def between(self, thread_id: str, first: int, count: int) -> list[Item]:
        """Return what stands at `count` positions from `first` on, oldest first."""
        rows = self._placed(PLACED[True], thread_id, first, first + count - 1, count)
        return list(chain.from_iterable(held for _, held in rows))

    def of_run(self, thread_id: str, run_id: str, first: int, last: int | None = None) -> list[Item]:
        """Return what a run made, oldest first: all of it stands from `first` to `last`, its thread's end if None."""
        rows = self._placed(OF_RUN, thread_id, first, END if last is None else last, END, run=run_id)
        return list(chain.from_iterable(held for _, held in rows))

    def require(self, thread_id: str, item_id: str) -> Item:
        """Return an item. Raises NotFound, for the conversation or the item."""
        return self._require(thread_id, item_id).item

    def find(self, item_id: str) -> Found | None:
        """Return an item of the project, None when there is no such."""
        found = self._find_row(item_id)
        if found is not None or item_id.partition("_")[0] not in (CALL, OUTPUT):
            return found
        try:
            made_at = millis_of(item_id)
        except ValueError:  # whoever gave it this id, its step is not to be told from it
            return None
        low = f"step_{base62(max(0, made_at - LONGEST_ANSWER_MS), TIME_DIGITS)}"
        return self._find_call(FIND_CALL_ANYWHERE, item_id, {"low": low, "high": twin(item_id, "step")})

    def resolved(self, items: Sequence[NewItem]) -> list[Kept]:
        """Return items with references replaced by copies of what they name. Raises NotFound."""
        return [self.copied(item) if isinstance(item, Reference) else item for item in items]

    def copied(self, reference: Reference) -> Kept:
        """Return what would keep the item that a reference names once more. Raises NotFound."""
        found = self.find(reference.id)
        if found is None:
            raise unknown_reference(reference.id, reference.at.partition("[")[0])
        return found.kept

    def lineage(self, thread_id: str, until: int | None = None) -> list[tuple[str, int]]:
        """Return a thread and those that it goes on from, newest first, each with its newest position that counts."""
        past = [(thread_id, END if until is None else until)]
        while thread_id.startswith(CHAIN) and len(past) < MOST_FORKS:
            row = self._tx.first(PARENT, {"thread": thread_id})
            if row is None or row.parent_id is None:
                break
            thread_id = row.parent_id
            past.append((thread_id, row.parent_position))
        return past

    def call_known(self, lineage: Sequence[tuple[str, int]], call_id: str) -> bool:
        """Tell whether a function call is in a thread, or in what it goes on from."""
        return any(self._has_call(thread_id, until, call_id) for thread_id, until in lineage)

    def _has_call(self, thread_id: str, until: int, call_id: str) -> bool:
        place = {"thread": thread_id, "project": self.project_id, "call": call_id, "high": until}
        if self._tx.first(FIND_CALL_OF_CLIENT, place) is not None:
            return True
        step = self._tx.first(FIND_CALL, place | {"call": _written(call_id)})
        return step is not None and step.position <= until

    def _require(self, thread_id: str, item_id: str) -> Found:
        found = self._find_in(thread_id, item_id)
        if found is None:
            self.require_conversation(thread_id)
            raise unknown_item(item_id, thread_id)
        return found

    def _find_in(self, thread_id: str, item_id: str) -> Found | None:
        found = self._find_row(item_id) or self._find_call(FIND_CALL, item_id, {"thread": thread_id})
        return found if found is not None and found.thread_id == thread_id else None

    def _find_row(self, item_id: str) -> Found | None:
        key = {"key": item_id, "project": self.project_id}
        row = self._tx.first(FIND_MESSAGE, key)
        if row is not None:
            return _found(row, message_item(row))
        row = self._tx.first(FIND_ITEM, key)
        return None if row is None else _found(row, item_of(row))

    def _find_call(self, statement: Any, item_id: str, place: dict[str, str]) -> Found | None:
        if item_id.partition("_")[0] not in (CALL, OUTPUT):
            return None
        call = _written(twin(item_id, "call"))
        row = self._tx.first(statement, place | {"project": self.project_id, "call": call})
        held = _step(row) if row is not None else []
        item = next((item for item in held if item.id == item_id), None)
        return _found(row, item, row.id) if row is not None and item is not None else None

    def _placed(
        self,
        statements: Sequence[Any],
        thread_id: str,
        low: int,
        high: int,
        count: int,
        *,
        ascending: bool = True,
        **more: str,
    ) -> list[Placed]:
        """Return the first rows of each table within some positions, and what items each holds, in the list's order."""
        place = {"thread": thread_id, "low": low, "high": high, "count": count, **more}
        placed: list[Placed] = []
        for statement, render in zip(statements, _RENDERED, strict=True):
            placed += [(row.position, render(row)) for row in self._tx.all(statement, place)]
        return sorted(placed, key=itemgetter(0), reverse=not ascending)


class ItemWriter(ItemReader):
    """Reads and writes the items of one project."""

    def __init__(self, tx: WriteTx, caller: Caller) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller
        self._messages = MessageWriter(tx, caller)

    def append(self, thread_id: str, items: Sequence[Kept], at: int) -> list[Item]:
        """Add items at the end of a thread; return them. Raises NotFound, and InvalidRequest when it is locked."""
        first = self._messages.take_positions(thread_id, len(items), at)
        if first is None:
            self.require_conversation(thread_id)
            raise conversation_locked()
        return self.insert(thread_id, items, at, first=first)

    def insert(self, thread_id: str, items: Sequence[Kept], at: int, *, first: int) -> list[Item]:
        """Add items at positions that are already theirs, from `first` on; return them."""
        added: list[Item] = []
        for _, alike in groupby(items, key=type):
            some = list(alike)
            messages = [item for item in some if isinstance(item, NewMessage)]
            rows = [item for item in some if isinstance(item, NewRowItem)]
            position = first + len(added)
            made = self._messages.insert(thread_id, messages, at, first=position)
            added += [message_item(row_of(columns)) for columns in made]
            added += self._insert_rows(thread_id, rows, at, position)
        return added

    def _insert_rows(self, thread_id: str, items: Sequence[NewRowItem], at: int, first: int) -> list[Item]:
        rows = [
            {
                "id": new_id(PREFIXES[item.type]),
                "project_id": self.project_id,
                "thread_id": thread_id,
                "position": position,
                "created_at": at,
                "type": item.type,
                "call_id": item.call_id,
                "body": item.body,
                "run_id": None,
            }
            for position, item in enumerate(items, start=first)
        ]
        self._write.run_many(ADD, rows)
        for row in rows:
            record(self._write, self._caller, "item.create", str(row["id"]), at)
        return [item_of(row_of(row)) for row in rows]

    def delete(self, thread_id: str, item_id: str, at: int) -> None:
        """Delete an item; a call of a step goes with its output. Raises NotFound, for the conversation or the item."""
        found = self._require(thread_id, item_id)
        if isinstance(found.kept, NewMessage):
            self._messages.delete(thread_id, item_id, at)
            return
        if found.step_id is not None:
            gone = self._delete_call(found.step_id, item_id)
        else:
            gone = self._write.run(DELETE, {"key": item_id, "project": self.project_id})
        if not gone:
            raise unknown_item(item_id, thread_id)  # another was quicker
        record(self._write, self._caller, "item.delete", item_id, at)

    def _delete_call(self, step_id: str, item_id: str) -> int:
        row = self._write.first(HOLD_STEP, {"key": step_id})
        left = step_without(row.step_details, item_id) if row is not None else None
        return 0 if left is None else self._write.run(SET_DETAILS, {"key": step_id, "details": left})


def _message(row: Row[Any]) -> list[Item]:
    return [message_item(row)]


def _item(row: Row[Any]) -> list[Item]:
    return [item_of(row)]


def _step(row: Row[Any]) -> list[Item]:
    return step_items(row.step_details, cut=row.incomplete_reason is not None)


_RENDERED: tuple[Callable[[Row[Any]], list[Item]], ...] = (_message, _item, _step)


def _found(row: Row[Any], item: Item, step_id: str | None = None) -> Found:
    kept = copy_of(row, item)
    return Found(thread_id=row.thread_id, position=row.position, item=item, kept=kept, step_id=step_id)


def _written(call_id: str) -> str:
    """Return how the details of a step name a call."""
    return f'"id":{to_json(call_id)}'
