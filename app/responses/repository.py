"""Statements on responses, and on the chains of threads that hold those that belong to no conversation."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, func, insert, select, update

from app.audit.repository import record
from app.db.database import ReadTx, WriteTx
from app.db.locks import FREE, lapsed
from app.db.repository import BY_CREATION, has_pair, read_page, wrong_cursor
from app.db.tables import ItemRow, MessageRow, ResponseRow, RunRow, ThreadRow, row_of, table
from app.engine.events import TurnCancelled
from app.engine.journal import append_in, past_of, record_events
from app.engine.lifecycle import ENDED
from app.engine.policy import closing
from app.engine.statements import UNLOCK_THREAD
from app.engine.turn import Stamped, Turn, TurnSpec
from app.errors import InvalidRequest, NotFound
from app.items.names import thread_of
from app.items.refusals import conversation_locked, unknown_conversation
from app.items.repository import ItemReader, ItemWriter
from app.items.schemas import Item
from app.kit.caller import Caller
from app.kit.ids import new_id
from app.kit.pages import Page, PageQuery, page_of
from app.messages.history import CHAIN
from app.responses.columns import NewResponse, response_columns
from app.responses.fitting import Before, fitted
from app.responses.rows import response_of
from app.responses.schemas import Response
from app.runs.acceptance import first_events
from app.runs.repository import NOTHING_YET
from app.runs.rows import spec_of

RESPONSES, RUNS, THREADS = table(ResponseRow), table(RunRow), table(ThreadRow)
MESSAGES, ITEMS = table(MessageRow), table(ItemRow)

_THIS = and_(RESPONSES.c.id == bindparam("key"), RESPONSES.c.project_id == bindparam("project"))
_FIND = select(RESPONSES).where(_THIS)
# Shared with others who go on from the response, and held against who would delete it meanwhile.
_HOLD = _FIND.with_for_update(read=True)
_FIND_RUN = select(RUNS).where(RUNS.c.id == bindparam("run"))
_FIND_THREAD = select(THREADS).where(THREADS.c.id == bindparam("thread"), THREADS.c.project_id == bindparam("project"))
_ADD, _ADD_RUN, _ADD_THREAD = insert(RESPONSES), insert(RUNS), insert(THREADS)
_LOCK = (
    update(THREADS)
    .where(THREADS.c.id == bindparam("thread"), THREADS.c.project_id == bindparam("project"), FREE)
    .values(active_run_id=bindparam("run"), last_position=THREADS.c.last_position + bindparam("count"))
    .returning(THREADS.c.last_position)
)
_GO_ON = _LOCK.where(THREADS.c.last_position == bindparam("newest"))
_DELETE = delete(RESPONSES).where(_THIS)
# What of a chain is still needed: up to the end of the newest response, all of it while one goes on, and up to where
# the last of those that went on from it left it.
_NEEDED_HERE = (
    select(func.max(func.coalesce(RUNS.c.last_position, THREADS.c.last_position)).label("position"))
    .join_from(RESPONSES, RUNS, RUNS.c.id == RESPONSES.c.run_id)
    .join(THREADS, THREADS.c.id == RUNS.c.thread_id)
    .where(RESPONSES.c.thread_id == bindparam("thread"))
)
_NEEDED_BY_OTHERS = select(func.max(THREADS.c.parent_position).label("position")).where(
    THREADS.c.parent_id == bindparam("thread")
)
_OWN = RESPONSES.c.project_id == bindparam("project")
_HOLD_THREAD = select(THREADS.c.parent_id).where(THREADS.c.id == bindparam("thread")).with_for_update()
_DELETE_THREAD = delete(THREADS).where(THREADS.c.id == bindparam("thread"))
_DELETE_RUNS = delete(RUNS).where(
    RUNS.c.thread_id == bindparam("thread"),
    func.coalesce(RUNS.c.last_position, bindparam("needed") + 1) > bindparam("needed"),
    ~select(RESPONSES.c.id).where(RESPONSES.c.run_id == RUNS.c.id).exists(),
)
_DELETE_MESSAGES = delete(MESSAGES).where(
    MESSAGES.c.thread_id == bindparam("thread"), MESSAGES.c.position > bindparam("needed")
)
_DELETE_ITEMS = delete(ITEMS).where(ITEMS.c.thread_id == bindparam("thread"), ITEMS.c.position > bindparam("needed"))
_CUT_THREAD = update(THREADS).where(THREADS.c.id == bindparam("thread")).values(last_position=bindparam("needed"))


class ResponseReader:
    """Reads one project's responses."""

    _find = _FIND

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id
        self.items = ItemReader(tx, project_id)

    def require(self, response_id: str) -> tuple[Row[Any], Row[Any]]:
        """Return the rows of a response's run and of itself. Raises NotFound."""
        row = self._tx.first(_FIND, {"key": response_id, "project": self.project_id})
        if row is None:
            raise NotFound(f"Response with id '{response_id}' not found.")
        return self._run(row.run_id), row

    def retrieve(self, response_id: str) -> Response:
        """Return a response with its output. Raises NotFound."""
        return self._response(*self.require(response_id))

    def page(self, query: PageQuery, metadata: Mapping[str, str]) -> Page[Response]:
        """Return one page of responses, or of those that have all of some metadata."""
        pairs = [has_pair(RESPONSES.c.metadata, key, value) for key, value in metadata.items()]
        scope, given = and_(_OWN, *pairs) if pairs else _OWN, {"project": self.project_id}
        return read_page(self._tx, RESPONSES, scope, BY_CREATION, query, self._shown, given=given, once=not pairs)

    def input_items(self, response_id: str, query: PageQuery) -> Page[Item]:
        """Return one page of what a response was sent. Raises NotFound."""
        _, row = self.require(response_id)
        items = self.items.between(row.thread_id, row.first_position, row.input_count)
        if query.order == "desc":
            items.reverse()
        ids = [item.id for item in items]
        if query.after is not None and query.after not in ids:
            raise wrong_cursor("after", query.after)
        first = 0 if query.after is None else ids.index(query.after) + 1
        end = first + query.limit
        return page_of(items[first:end], has_more=len(items) > end)

    def before(self, conversation: str | None, previous_response_id: str | None) -> Before | None:
        """Return what a new response comes after, if anything. Raises NotFound, InvalidRequest."""
        if conversation is not None:
            thread = self._conversation(conversation)
            return Before(thread.id, thread.last_position)
        if previous_response_id is not None:
            return self._predecessor(previous_response_id)
        return None

    def _shown(self, row: Row[Any]) -> Response:
        return self._response(self._run(row.run_id), row)

    def _response(self, run: Row[Any], row: Row[Any]) -> Response:
        first = row.first_position + row.input_count
        return response_of(run, row, self.items.of_run(row.thread_id, row.run_id, first, run.last_position))

    def _run(self, run_id: str) -> Row[Any]:
        row = self._tx.first(_FIND_RUN, {"run": run_id})
        assert row is not None  # a response goes with its run
        return row

    def _conversation(self, conversation: str) -> Row[Any]:
        row = self._tx.first(_FIND_THREAD, {"thread": thread_of(conversation), "project": self.project_id})
        if row is None:
            raise unknown_conversation(thread_of(conversation))
        return row

    def _predecessor(self, response_id: str) -> Before:
        row = self._tx.first(self._find, {"key": response_id, "project": self.project_id})
        if row is None:
            raise InvalidRequest(
                f"Previous response with id '{response_id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        run = self._run(row.run_id)
        if run.status not in ENDED:
            raise InvalidRequest(
                f"Previous response with id '{response_id}' has not ended yet. Its status tells when it has.",
                param="previous_response_id",
                code="previous_response_in_progress",
            )
        return Before(row.thread_id, run.last_position)


class ResponseWriter(ResponseReader):
    """Accepts responses, on behalf of the server that is to carry them out, and deletes them."""

    _find = _HOLD

    def __init__(self, tx: WriteTx, caller: Caller, *, owner: str | None = None) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller
        self._owner = owner

    def accept(self, new: NewResponse, at: int, *, starts: bool) -> tuple[Row[Any], Row[Any], list[Stamped]]:
        """Add a response with its input; return the rows of its run and of itself, and its first events.

        Raises NotFound, and InvalidRequest where its past cannot be gone on from or its input does not fit to it.
        """
        before = self.before(new.conversation, new.previous_response_id)
        items = fitted(self.items, new.items, before)
        run_id = new_id("run")
        thread_id, first = self._place(new, before, run_id, len(items), at)
        ItemWriter(self._write, self._caller).insert(thread_id, items, at, first=first)
        run = self._add_run(new, run_id, thread_id, at, starts=starts)
        events = first_events(at, starts=starts)
        record_events(self._write, run_id, events, at)
        response = response_columns(new, run.id, self.project_id, thread_id, at)
        response |= {"first_position": first, "input_count": len(items)}
        self._write.run(_ADD, response)
        record(self._write, self._caller, "response.create", response["id"], at)
        return run, row_of(response), events

    def _add_run(self, new: NewResponse, run_id: str, thread_id: str, at: int, *, starts: bool) -> Row[Any]:
        identity = {"id": run_id, "thread_id": thread_id, "project_id": self.project_id}
        columns = NOTHING_YET | new.run | identity | {"key_id": self._caller.key_id, "owner": self._owner}
        if starts:
            columns |= {"status": "in_progress", "started_at": at}
        self._write.run(_ADD_RUN, columns)
        return row_of(columns)

    def _place(self, new: NewResponse, before: Before | None, run_id: str, count: int, at: int) -> tuple[str, int]:
        """Take a thread for a response, and positions in it for its input; return it and the first of them."""
        lock = {"project": self.project_id, "run": run_id, "count": count, "lapsed": lapsed(at)}
        if before is not None and new.conversation is not None:
            row = self._write.first(_LOCK, lock | {"thread": before.thread_id})
            if row is None:
                raise conversation_locked()
            return before.thread_id, row.last_position - count + 1
        if before is not None and before.chained:
            row = self._write.first(_GO_ON, lock | {"thread": before.thread_id, "newest": before.position})
            if row is not None:
                return before.thread_id, before.position + 1
        return self._new_chain(before, run_id, count, at), 1

    def _new_chain(self, before: Before | None, run_id: str, count: int, at: int) -> str:
        chain_id = f"{CHAIN}{new_id('').removeprefix('_')}"
        columns = {
            "id": chain_id,
            "project_id": self.project_id,
            "created_at": at,
            "metadata": "{}",
            "tool_resources": None,
            "assistant_id": None,
            "active_run_id": run_id,
            "last_position": count,
            "parent_id": before.thread_id if before is not None else None,
            "parent_position": before.position if before is not None else None,
        }
        self._write.run(_ADD_THREAD, columns)
        return chain_id

    def begin_cancel(self, response_id: str, at: int) -> Row[Any] | None:
        """Record that a response is to be cancelled; return its run's row, None when it is cancelled already.

        Raises NotFound, and InvalidRequest when it has ended or is not one of the background.
        """
        run, row = self.require(response_id)
        if not row.background:
            raise InvalidRequest("Cannot cancel a synchronous response.")
        if run.status in ("cancelled", "cancelling"):
            return None
        if run.status in ENDED:
            status = "failed" if run.status == "expired" else run.status
            article = "an" if status == "incomplete" else "a"
            raise InvalidRequest(f"Cannot cancel {article} {status} response.")
        record(self._write, self._caller, "response.cancel", response_id, at)
        return run

    def cancel(self, response_id: str, at: int) -> TurnSpec | None:
        """End a response that no task carries out as cancelled; None when it has ended. Raises NotFound."""
        run, _ = self.require(response_id)
        turn = Turn(spec_of(run), past_of(self._write, run.id))
        if turn.ended:
            return None
        append_in(self._write, turn, closing(turn, "run_cancelled", TurnCancelled(at=at, usage=turn.usage)))
        return turn.spec

    def delete(self, response_id: str, at: int) -> str | None:
        """Delete a response, and what of its chain nobody needs any more. Raises NotFound.

        What is in a conversation stays there. Returns the run that goes on for nobody, if it does.
        """
        run, row = self.require(response_id)
        self._write.run(_DELETE, {"key": response_id, "project": self.project_id})
        record(self._write, self._caller, "response.delete", response_id, at)
        if not row.thread_id.startswith(CHAIN):
            return None
        self._write.run(UNLOCK_THREAD, {"thread": row.thread_id, "run": row.run_id})
        chain_id: str | None = row.thread_id
        while chain_id is not None and chain_id.startswith(CHAIN):
            chain_id = self._cut(chain_id)
        return None if run.status in ENDED else str(row.run_id)

    def _cut(self, chain_id: str) -> str | None:
        """Delete what of a chain nobody needs; return what it went on from where that is needed less now."""
        thread = {"thread": chain_id}
        held = self._write.first(_HOLD_THREAD, thread)
        needed = [self._write.first(query, thread) for query in (_NEEDED_HERE, _NEEDED_BY_OTHERS)]
        positions = [row.position for row in needed if row is not None and row.position is not None]
        if positions:
            cut = thread | {"needed": max(positions)}
            for statement in (_DELETE_RUNS, _DELETE_MESSAGES, _DELETE_ITEMS, _CUT_THREAD):
                self._write.run(statement, cut)
            return None
        self._write.run(_DELETE_THREAD, thread)
        return held.parent_id if held is not None else None
