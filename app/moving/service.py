"""Rules of moving: a batch is one transaction, and a page is one look at the store."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from msgspec import json

from app.db.database import Database, ReadTx, WriteTx
from app.db.repository import wrong_cursor
from app.errors import NotFound
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.ids import twin
from app.moving.exporting import Place, Scope, Traversal
from app.moving.importing import Intake
from app.moving.lines import ProjectLine
from app.moving.repository import TABLES, MovingReader, MovingWriter
from app.moving.rows import columns_of
from app.moving.schemas import ExportPage, ExportQuery, Imported, ImportLines


class MovingService:
    """Brings lines in and takes them out, for administrators: of any project."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def bring_in(self, caller: Caller, batch: ImportLines) -> Imported:
        """Keep what a batch holds and is not there yet. Raises NotFound for an unknown project."""
        at = self._clock.now()
        return await self._database.write(lambda tx: _bring_in(tx, caller, batch, at))

    async def take_out(self, query: ExportQuery) -> ExportPage:
        """Return one page of lines. Raises NotFound, and InvalidRequest for a wrong cursor."""
        thread_id = query.thread_id
        if thread_id is not None and thread_id.startswith("conv"):
            thread_id = twin(thread_id, "thread")
        scope = Scope(project_id=query.project_id, thread_id=thread_id)
        place = _place(query.after, scope) if query.after else None

        def work(tx: ReadTx) -> ExportPage:
            lines, after = Traversal(MovingReader(tx), scope).page(place, query.limit)
            return ExportPage(data=lines, after=_cursor(after) if after else None)

        return await self._database.read(work)


def _bring_in(tx: WriteTx, caller: Caller, batch: ImportLines, at: int) -> Imported:
    writer = MovingWriter(tx)
    project_id = batch.project.id if batch.project else batch.project_id or caller.project_id
    is_new = not writer.find("project", [project_id])
    if is_new and batch.project is None:
        raise NotFound(f"No project found with id '{project_id}'.")
    intake = Intake(writer, project_id, batch, at)
    intake.carry_out()
    kept = not batch.dry_run and not (batch.strict and intake.refused)
    if kept:
        if is_new and batch.project is not None:
            named = batch.project
            columns = columns_of(ProjectLine(id=named.id, created_at=named.created_at or at, name=named.name))
            writer.add("project", [columns | {"archived_at": None}])
            intake.added["project"] += 1
        _write(writer, intake)
        if intake.added:
            writer.record(caller, project_id, at)
    return Imported(
        kept=kept,
        added=dict(intake.added),
        skipped=dict(intake.skipped),
        renamed=intake.renamed,
        refused=intake.refused,
        late=intake.late,
    )


def _write(writer: MovingWriter, intake: Intake) -> None:
    reached = intake.tails.moved()
    for kind in TABLES:
        rows = intake.shelf.added.get(kind, [])
        if kind == "thread":
            rows = [row | {"last_position": reached.get(row["id"], row["last_position"])} for row in rows]
        writer.add(kind, rows)
    for thread_id, position in reached.items():
        if not intake.shelf.is_new("thread", thread_id):
            writer.reach(thread_id, position)


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(json.encode(place)).decode().rstrip("=")


def _place(cursor: str, scope: Scope) -> Place:
    try:
        place = json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Place)
    except (ValueError, RecursionError):
        raise wrong_cursor("after", cursor) from None
    if (place.part == "one") != (scope.thread_id is not None):
        raise wrong_cursor("after", cursor)
    return place
