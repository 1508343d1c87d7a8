"""What becomes of the lines of one batch: which are added, under which ids and at which places. Writes nothing itself.

A line is taken whole or not at all. What is there already, under its own id or under the one that it got when that was
taken, is left alone: a batch that is sent again adds nothing.
"""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Protocol

from msgspec import UNSET
from msgspec.structs import replace

from app.kit.ids import twin
from app.kit.wire import to_json
from app.moving.lines import (
    AssistantLine,
    ItemLine,
    Line,
    MessageLine,
    OfThread,
    ProjectLine,
    ResponseLine,
    RunLine,
    StepLine,
    ThreadLine,
    VectorStoreLine,
)
from app.moving.naming import OTHERS, names, renamed
from app.moving.places import Tail, Tails, Threads
from app.moving.reading import BadLine, in_order, read
from app.moving.rows import Columns, columns_of, kind_of
from app.moving.schemas import ImportLines, RefusedLine, Renamed
from app.moving.shelf import Held, NoNameLeft, Rows, Shelf
from app.runs.schemas import MessageCreationDetails

ORDER: tuple[tuple[type[Line], ...], ...] = (
    (VectorStoreLine,),
    (AssistantLine,),
    (ThreadLine,),
    (RunLine,),
    (MessageLine, ItemLine),
    (StepLine,),
    (ResponseLine,),
)
"""Kinds of lines, each after those that it refers to. Messages and items share the places of a thread."""

Numbered = tuple[int, Line]


class Store(Rows, Threads, Protocol):
    """Where a batch looks for what is there."""


class Intake:
    """One batch. `added`, `skipped`, `renamed`, `refused` and `late` are what its answer says."""

    def __init__(self, store: Store, project_id: str, batch: ImportLines, at: int) -> None:
        self.shelf = Shelf(store, project_id)
        self.tails = Tails(store, at)
        self.added: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.renamed: list[Renamed] = []
        self.refused: list[RefusedLine] = []
        self.late: list[int] = []
        self._batch = batch
        self._names = dict(batch.renamed)
        self._shut: set[str] = set()

    def carry_out(self) -> None:
        """Take every line of the batch that can be taken."""
        lines = self._lines()
        self._look_up(lines)
        for kinds in ORDER:
            for number, line in lines:
                if isinstance(line, kinds):
                    self._take(number, line)

    def _lines(self) -> list[Numbered]:
        found: list[Numbered] = []
        for one in self._batch.lines:
            try:
                found += [(one.line, line) for line in read(bytes(one.entry))]
            except BadLine as bad:
                self._refuse(one.line, bad)
        return _each_thread_in_order(found)

    def _look_up(self, lines: Sequence[Numbered]) -> None:
        ids: dict[str, set[str]] = {}
        for _, line in lines:
            ids.setdefault(kind_of(line), set()).add(line.id)
            for kind, name in _references(line):
                ids.setdefault(kind, set()).add(self._names.get(name, name))
        for kind, wanted in ids.items():
            self.shelf.look_up(kind, wanted)
        self.tails.want(line for _, line in lines)

    def _take(self, number: int, line: Line) -> None:
        try:
            match line:
                case VectorStoreLine() | AssistantLine():
                    self._names[line.id] = self._put(number, line, self._columns(line))
                case ThreadLine():
                    self._take_thread(number, line)
                case ProjectLine():
                    raise BadLine("A project is named with the batch.")
                case _:
                    self._take_of_thread(number, line)
        except BadLine as bad:
            self._refuse(number, BadLine(str(bad), line.id if isinstance(line, ThreadLine) else None))

    def _refuse(self, number: int, bad: BadLine) -> None:
        self.refused.append(RefusedLine(line=number, reason=str(bad), thread_id=bad.thread_id))
        self._shut |= {bad.thread_id} if bad.thread_id else set()

    def _columns(self, line: Line) -> Columns:
        """Return a line's columns, with vector stores under the ids that they have here."""
        resources = getattr(line, "tool_resources", None)
        if resources is not None and (search := resources.file_search) is not None and search.vector_store_ids:
            ids = [self._names.get(name, name) for name in search.vector_store_ids]
            line = replace(line, tool_resources=replace(resources, file_search=replace(search, vector_store_ids=ids)))
        return columns_of(line)

    def _take_thread(self, number: int, line: ThreadLine) -> None:
        columns = self._columns(line)
        bound = columns["assistant_id"]
        if bound is not None:
            columns["assistant_id"] = self._names.get(bound, bound)
            if self.shelf.own("assistant", columns["assistant_id"]) is None and not self._batch.dry_run:
                raise BadLine(f"Its assistant '{bound}' is not here.")
        columns["parent_id"] = self._names.get(columns["parent_id"], columns["parent_id"])
        self._names[line.id] = self._put(number, line, columns)

    def _take_of_thread(self, number: int, line: OfThread) -> None:
        thread = self._thread(number, line)
        columns = self._columns(line) | {"thread_id": thread["id"]}
        if columns.get("assistant_id"):
            columns["assistant_id"] = self._names.get(columns["assistant_id"], columns["assistant_id"])
        match line:
            case RunLine():
                self._put(number, line, columns, thread)
            case MessageLine() | ItemLine():
                if columns["run_id"]:
                    columns["run_id"] = self._here("thread.run", columns["run_id"], thread) or columns["run_id"]
                self._put_in_place(number, line, columns, thread)
            case StepLine():
                self._take_step(number, line, columns, thread)
            case ResponseLine():
                self._take_response(number, line, columns, thread)

    def _take_step(self, number: int, line: StepLine, columns: Columns, thread: Held) -> None:
        columns["run_id"] = self._run(line.run_id, thread)
        details = line.step_details
        if isinstance(details, MessageCreationDetails):
            made = details.message_creation
            name = self._here("thread.message", made.message_id, thread) or made.message_id
            columns["step_details"] = to_json(replace(details, message_creation=replace(made, message_id=name)))
        self._put(number, line, columns, thread)
        if columns["position"] is not None:
            self._tail(line, thread).reach(columns["position"])

    def _take_response(self, number: int, line: ResponseLine, columns: Columns, thread: Held) -> None:
        columns["run_id"] = self._run(line.run_id, thread)
        columns["id"] = twin(columns["run_id"], "resp")
        before = line.previous_response_id
        if before is not None:
            other = renamed(self.shelf.project_id, before)
            columns["previous_response_id"] = other if self.shelf.own("thread.response", other) else before
        self._put(number, line, columns, thread)

    def _run(self, run_id: str, thread: Held) -> str:
        """Return the id of a run that is in a thread. Raises BadLine."""
        found = self._here("thread.run", run_id, thread)
        if found is None and not self._batch.dry_run:
            raise BadLine(f"Its run '{run_id}' is not here.")
        return found or run_id

    def _here(self, kind: str, object_id: str, thread: Held) -> str | None:
        return self.shelf.in_thread(kind, object_id, thread["id"])

    def _thread(self, number: int, line: OfThread) -> Held:
        """Return the thread that a line belongs to; a message makes one where there is none. Raises BadLine."""
        called = line.thread_id
        if called is UNSET:
            raise BadLine("Missing required parameter: 'thread_id'.")
        if called in self._shut:
            raise BadLine(f"Its thread '{called}' was refused.")
        for name in [self._names[called]] if called in self._names else names(self.shelf.project_id, called):
            row = self.shelf.get("thread", name)
            if row is None:
                row = self._made(number, line, called, name)
            if row["project_id"] == self.shelf.project_id:
                self._names[called] = name
                return row
        raise BadLine(f"Its thread '{called}' is another project's.")

    def _made(self, number: int, line: OfThread, called: str, name: str) -> Held:
        if not isinstance(line, MessageLine) and not self._batch.dry_run:
            raise BadLine(f"Its thread '{called}' is not here.")
        made = ThreadLine(id=name, created_at=line.created_at)
        self.shelf.add("thread", columns_of(made))
        self.added["thread"] += not self._batch.dry_run  # there it may be one of a batch before, which was not kept
        self._note(number, made, called, name)
        row = self.shelf.get("thread", name)
        assert row is not None
        return row

    def _put_in_place(self, number: int, line: MessageLine | ItemLine, columns: Columns, thread: Held) -> None:
        name, is_free = self._name(line, columns)
        if is_free:
            self._require_free(thread)
            columns["position"], late = self._tail(line, thread).take(line)
            self.late += [number] if late else []
        self._keep(number, line, columns, name, is_new=is_free)

    def _put(self, number: int, line: Line, columns: Columns, thread: Held | None = None) -> str:
        """Add what a line holds where it is not there; return its id. Raises BadLine."""
        name, is_free = self._name(line, columns)
        if is_free and thread is not None:
            self._require_free(thread)
        self._keep(number, line, columns, name, is_new=is_free)
        return name

    def _name(self, line: Line, columns: Columns) -> tuple[str, bool]:
        try:
            return self.shelf.place(kind_of(line), columns)
        except NoNameLeft:
            raise BadLine(f"Its id '{line.id}' and {OTHERS} others that it may have are taken.") from None

    def _keep(self, number: int, line: Line, columns: Columns, name: str, *, is_new: bool) -> None:
        kind = kind_of(line)
        if is_new:
            self.shelf.add(kind, columns | {"id": name})
        (self.added if is_new else self.skipped)[kind] += 1
        self._note(number, line, line.id, name)

    def _note(self, number: int, line: Line, called: str, name: str) -> None:
        if name != called:
            self.renamed.append(Renamed(line=number, object=kind_of(line), id=called, new_id=name))

    def _require_free(self, thread: Held) -> None:
        if not self.tails.is_free(thread):
            raise BadLine(f"A run is active in its thread '{thread['id']}'. Try again when it is over.")

    def _tail(self, line: MessageLine | ItemLine | StepLine, thread: Held) -> Tail:
        is_new = self.shelf.is_new("thread", thread["id"])
        return self.tails.of(thread, str(line.thread_id), is_new=is_new)


def _references(line: Line) -> list[tuple[str, str]]:
    """Return which threads and runs a line speaks of."""
    found = [("thread", getattr(line, "thread_id", None)), ("thread.run", getattr(line, "run_id", None))]
    return [(kind, name) for kind, name in found if name]


def _each_thread_in_order(lines: list[Numbered]) -> list[Numbered]:
    """Return lines with the messages of each thread oldest first, where they have no positions."""
    places: dict[str, list[int]] = {}
    for place, (_, line) in enumerate(lines):
        if isinstance(line, MessageLine):
            places.setdefault(str(line.thread_id), []).append(place)
    ordered = list(lines)
    for held in places.values():
        for place, pair in zip(held, in_order([lines[one] for one in held], itemgetter(1)), strict=True):
            ordered[place] = pair
    return ordered
