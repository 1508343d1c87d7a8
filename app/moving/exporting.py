"""The order in which lines go out, a page at a time: what a page ends with is where the next one begins.

A project's vector stores and assistants come first, then its threads, each with all that is in it, so that whoever
reads the lines in order meets nothing that refers to what comes later. A thread is told as it is when it is reached,
and without what a run is doing in it at that moment.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from msgspec import Raw, Struct, json

from app.errors import NotFound
from app.moving.lines import Count, Reference, ThreadLine
from app.moving.repository import MovingReader
from app.moving.rows import line_of

PAGE_BYTES = 1024 * 1024
"""A page ends when it is longer; one object that is longer by itself makes a page of its own."""
LOOKS = 400
"""A page ends after so many looks at the store, full or not: each reads a few rows, and holds a snapshot."""
ROWS = 100


Part = Literal["one", "project", "vector_store", "assistant", "thread", "chain"]
Inner = Literal["run", "said", "step", "response"]
INNER_NEXT: dict[Inner, Inner] = {"run": "said", "said": "step", "step": "response"}
OUTER_NEXT: dict[Part, Part] = {
    "vector_store": "assistant",
    "assistant": "thread",
    "thread": "chain",
    "chain": "project",
}


class Scope(Struct, frozen=True, kw_only=True):
    """What goes out: one thread with the assistant that it is bound to, one project, or all."""

    project_id: str | None = None
    thread_id: str | None = None


class Place(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Where the next page begins: in which project, in which of its parts, after which object.

    Within a thread: its id, what its newest place was and which run held it when it was reached, in which of its parts,
    after which object there; of steps, also of which run that is.
    """

    part: Part
    project_id: Reference = ""
    at: Count = 0
    id: Reference = ""
    thread_id: Reference = ""
    until: Count = 0
    active: Reference = ""
    inner: Inner = "run"
    inner_at: Count = 0
    inner_id: Reference = ""
    run_at: Count = 0
    run_id: Reference = ""


Step = tuple[list[bytes], Place | None]


class Traversal:
    """Reads what a scope holds, from a place on."""

    def __init__(self, reader: MovingReader, scope: Scope) -> None:
        self._reader = reader
        self._scope = scope

    def page(self, place: Place | None, limit: int) -> tuple[list[Raw], Place | None]:
        """Return up to a page of lines and where to go on; None is the end. Raises NotFound."""
        place = place or self._begin()
        lines: list[bytes] = []
        size = 0
        for _ in range(LOOKS):
            found, after = self._step(place, min(ROWS, limit - len(lines)), PAGE_BYTES - size)
            lines += found
            size += sum(map(len, found))
            if after is None or len(lines) >= limit or size >= PAGE_BYTES:
                return [Raw(line) for line in lines], after
            place = after
        return [Raw(line) for line in lines], place

    def _begin(self) -> Place:
        scope = self._scope
        if scope.thread_id is not None:
            self._require("thread", scope.thread_id, "thread")
            return Place("one")
        if scope.project_id is not None:
            self._require("project", scope.project_id, "project")
            return Place("vector_store", scope.project_id)
        return Place("project")

    def _require(self, kind: str, object_id: str, noun: str) -> Any:
        row = self._reader.one(kind, object_id)
        if row is None:
            raise NotFound(f"No {noun} found with id '{object_id}'.")
        return row

    def _step(self, place: Place, count: int, size: int) -> Step:
        if place.thread_id:
            return self._within(place, count, size)
        if place.part == "one":
            return self._one_thread()
        if place.part == "project":
            return self._next_project(place)
        after = (place.at, place.id)
        if place.part in ("thread", "chain"):
            rows = (
                self._reader.of_project("thread", place.project_id, after, 1)
                if place.part == "thread"
                else self._reader.chains(place.project_id, place.id, 1)
            )
            return self._open(place, rows[0]) if rows else ([], self._next_part(place))
        rows = self._reader.of_project(place.part, place.project_id, after, count)
        lines = [_encoded(place.part, row) for row in rows]
        if len(rows) < count:
            return lines, self._next_part(place)
        return lines, Place(place.part, place.project_id, rows[-1].created_at, rows[-1].id)

    def _next_part(self, place: Place) -> Place | None:
        part = OUTER_NEXT[place.part]
        if part != "project":
            return Place(part, place.project_id)
        if self._scope.project_id is not None:
            return None
        return Place("project", id=place.project_id)

    def _next_project(self, place: Place) -> Step:
        rows = self._reader.projects(place.id, 1)
        if not rows:
            return [], None
        return [_encoded("project", rows[0])], Place("vector_store", rows[0].id)

    def _one_thread(self) -> Step:
        """Begin with the one thread, after the assistant that it is bound to, without which it cannot be brought in."""
        assert self._scope.thread_id is not None
        row = self._require("thread", self._scope.thread_id, "thread")
        lines, place = self._open(Place("one"), row)
        bound = row.assistant_id and self._reader.one("assistant", row.assistant_id)
        return ([_encoded("assistant", bound)] if bound else []) + lines, place

    def _open(self, place: Place, row: Any) -> Step:
        thread = line_of("thread", row._asdict())
        assert isinstance(thread, ThreadLine)
        inside = Place(
            place.part,
            row.project_id,
            row.created_at,
            row.id,
            thread_id=row.id,
            until=row.last_position,
            active=row.active_run_id or "",
            inner="run",
        )
        return [_encode(thread)], inside

    def _within(self, place: Place, count: int, size: int) -> Step:
        """Read a few rows of a thread. Afterwards the outer place is that of the thread itself."""
        look: Callable[[Place, int, int], tuple[list[bytes], Place | None]] = {
            "run": self._runs,
            "said": self._said,
            "step": self._steps,
            "response": self._responses,
        }[place.inner]
        lines, after = look(place, count, size)
        if after is not None:
            return lines, after
        if place.inner in INNER_NEXT:
            return lines, _inside(place, INNER_NEXT[place.inner])
        if place.part == "one":
            return lines, None
        return lines, Place(place.part, place.project_id, place.at, place.id)

    def _runs(self, place: Place, count: int, _size: int) -> Step:
        after = (place.inner_at, place.inner_id)
        rows = self._reader.runs(place.thread_id, place.until, place.active, after, count)
        return self._found("thread.run", rows, count, lambda row: _inside(place, "run", row.created_at, row.id))

    def _said(self, place: Place, count: int, size: int) -> Step:
        pairs = self._reader.said(place.thread_id, place.until, place.active, place.inner_at, count, size)
        if not pairs:
            return [], None
        lines = [_encoded(kind, row) for kind, row in pairs]
        return lines, _inside(place, "said", pairs[-1][1].position)

    def _steps(self, place: Place, count: int, _size: int) -> Step:
        run, after = (place.run_at, place.run_id), (place.inner_at, place.inner_id)
        rows = self._reader.steps(place.thread_id, place.until, place.active, run, after, count)

        def there(row: Any) -> Place:
            return _inside(place, "step", row.created_at, row.id, (row.run_created_at, row.run_id))

        return self._found("thread.run.step", rows, count, there)

    def _responses(self, place: Place, count: int, _size: int) -> Step:
        after = (place.inner_at, place.inner_id)
        rows = self._reader.responses(place.thread_id, place.until, place.active, after, count)
        response = "thread.response"
        return self._found(response, rows, count, lambda row: _inside(place, "response", row.first_position, row.id))

    def _found(self, kind: str, rows: Sequence[Any], count: int, after: Callable[[Any], Place]) -> Step:
        lines = [_encoded(kind, row) for row in rows]
        return lines, after(rows[-1]) if len(rows) == count else None


def _inside(place: Place, inner: Inner, at: int = 0, last: str = "", run: tuple[int, str] = (0, "")) -> Place:
    outer = (place.part, place.project_id, place.at, place.id, place.thread_id, place.until, place.active)
    return Place(*outer, inner, at, last, *run)


_encode = json.Encoder().encode


def _encoded(kind: str, row: Any) -> bytes:
    return _encode(line_of(kind, row._asdict()))
