"""Turns of which nothing is written: what they come after is read once, and all else is in memory."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from app.db.database import Database, ReadTx
from app.db.tables import row_of
from app.engine.context import Told
from app.engine.turn import TurnSpec
from app.items.compiling import Kept
from app.kit.caller import Caller
from app.kit.ids import new_id
from app.responses.columns import RUN, NewResponse, response_columns
from app.responses.fitting import Before, fitted, told
from app.responses.progress import as_accepted
from app.responses.repository import ResponseReader
from app.responses.rows import response_of
from app.responses.schemas import Response
from app.runs.repository import NOTHING_YET
from app.runs.rows import spec_of


class Unkept(Struct, frozen=True):
    """A turn as the engine takes it, and the response that it is to be."""

    spec: TurnSpec
    response: Response


async def unkept(database: Database, caller: Caller, new: NewResponse, at: int, asked: Sequence[Told] = ()) -> Unkept:
    """Return a turn of which nothing is written; `asked` is said after its input. Raises NotFound, InvalidRequest."""

    def read(tx: ReadTx) -> tuple[Before | None, list[Kept]]:
        reader = ResponseReader(tx, caller.project_id)
        before = reader.before(new.conversation, new.previous_response_id)
        return before, fitted(reader.items, new.items, before)

    before, items = await database.read(read)
    thread_id, until = (before.thread_id, before.position) if before is not None else ("", None)
    identity = {"id": new_id(RUN), "thread_id": thread_id, "project_id": caller.project_id}
    run = row_of(NOTHING_YET | new.run | identity | {"key_id": caller.key_id, "owner": None})
    row = row_of(response_columns(new, run.id, caller.project_id, thread_id, at))
    spec = replace(spec_of(run), recorded=False, said=[*told(items), *asked], until=until)
    return Unkept(spec, as_accepted(response_of(run, row, [])))
