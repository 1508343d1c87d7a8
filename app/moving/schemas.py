"""Moving on the wire: a batch of lines that comes in, a page of lines that goes out."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.kit.wire import STORABLE, Answer, Body
from app.moving.lines import LARGEST, ProjectId, Reference

BATCH_LINES = 1000
PAGE_LINES = 1000


class NumberedLine(Body, kw_only=True, frozen=True):
    """A line with its number in the file that it is from."""

    line: Annotated[int, Meta(ge=1, le=LARGEST)]
    entry: Raw


class NamedProject(Body, kw_only=True, frozen=True):
    """A project that is made where there is none with its id."""

    id: ProjectId
    created_at: Annotated[int, Meta(ge=0, le=LARGEST)] | UnsetType = UNSET
    name: Annotated[str, Meta(min_length=1, max_length=256, pattern=STORABLE)]


class ImportLines(Body, kw_only=True, frozen=True):
    """Lines for one project, the caller's unless another is named.

    `renamed` maps ids of vector stores, assistants and threads of earlier batches that got others. With
    `strict` nothing is kept when one line is refused; with `dry_run` nothing is in any case.
    """

    project_id: ProjectId | None = None
    project: NamedProject | None = None
    dry_run: bool = False
    strict: bool = False
    renamed: dict[Reference, Reference] = {}
    lines: Annotated[list[NumberedLine], Meta(max_length=BATCH_LINES)] = []


class Renamed(Answer, kw_only=True, frozen=True):
    """An object whose id was something else's, and the id that it has now."""

    line: int
    object: str
    id: str
    new_id: str


class RefusedLine(Answer, kw_only=True, frozen=True):
    """A line that was not taken. `thread_id` is there when it was a thread's own."""

    line: int
    reason: str
    thread_id: str | None = None


class Imported(Answer, kw_only=True, frozen=True):
    """What became of a batch. Lines are counted by what they say they are; `skipped` were there already.

    What is `kept` is on disk. `late` are messages that are older than the one before them in their thread and had no
    place of their own: they stand where they came.
    """

    object: Literal["import"] = "import"
    kept: bool
    added: dict[str, int]
    skipped: dict[str, int]
    renamed: list[Renamed]
    refused: list[RefusedLine]
    late: list[int]


class ExportQuery(Struct, frozen=True, kw_only=True):
    """What goes out: one thread, or one project, or all; `after` is what the page before said."""

    project_id: str | None = None
    thread_id: str | None = None
    after: str | None = None
    limit: int = PAGE_LINES


class ExportPage(Answer, kw_only=True, frozen=True):
    """A page of lines. `after` leads to the next one; null is the end."""

    object: Literal["export.page"] = "export.page"
    data: list[Raw]
    after: str | None
