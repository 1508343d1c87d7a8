"""Statements on runs and their steps. What happens to a run after its acceptance is the journal's to write."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Row, and_, bindparam, cast, delete, extract, func, insert, or_, select, update

from app.assistants.repository import AssistantReader
from app.audit.repository import record
from app.catalog.permission import require_model
from app.db.database import ReadTx, WriteTx
from app.db.locks import FREE, lapsed
from app.db.repository import BY_CREATION, read_page
from app.db.tables import RunRow, ServerRow, StepRow, ThreadRow, row_of, table
from app.engine.events import (
    OutputsSubmitted,
    TurnCancelled,
    TurnExpired,
    TurnRequeued,
    TurnStarted,
)
from app.engine.journal import append_in, past_of, record_events, take_over
from app.engine.lifecycle import ENDED
from app.engine.policy import closing
from app.engine.turn import Stamped, Turn, TurnSpec
from app.errors import InvalidRequest, NotFound
from app.kit.caller import Caller
from app.kit.ids import new_id
from app.kit.pages import Page, PageQuery
from app.kit.wire import to_json
from app.messages.repository import MessageWriter
from app.messages.schemas import CreateMessage
from app.runs.acceptance import first_events
from app.runs.columns import RunInput, run_columns
from app.runs.rows import run_of, spec_of, step_of
from app.runs.schemas import CreateRun, Run, RunOptions, RunStep, ToolOutput
from app.threads.repository import ThreadReader

RUNS, STEPS, THREADS, SERVERS = table(RunRow), table(StepRow), table(ThreadRow), table(ServerRow)
TAKEN_AT_ONCE = 250
"""So many runs are looked for in one read, so that a look has a bound whatever was left behind."""

NOTHING_YET = dict.fromkeys(
    ("started_at", "ended_at", "last_error", "incomplete_reason", "required_action", "usage"), None
)

_ADD = insert(RUNS)
_FIND = select(RUNS).where(
    RUNS.c.id == bindparam("key"),
    RUNS.c.thread_id == bindparam("thread"),
    RUNS.c.project_id == bindparam("project"),
)
_SET_METADATA = update(RUNS).where(RUNS.c.id == bindparam("key")).values(metadata=bindparam("pairs"))
_FIND_STEP = select(STEPS).where(STEPS.c.id == bindparam("key"), STEPS.c.run_id == bindparam("run"))
_UNENDED = select(RUNS).where(RUNS.c.ended_at.is_(None)).order_by(RUNS.c.created_at, RUNS.c.id)
# The store's clock measures every lease: those of the servers need not agree.
_NOW_MS = cast(extract("epoch", func.now()) * 1000, BigInteger)
_LAPSED = SERVERS.c.seen_at <= _NOW_MS - bindparam("lease_ms")
_OWNED_BY_LIVING = select(SERVERS.c.id).where(SERVERS.c.id == RUNS.c.owner, ~_LAPSED).exists()
_LEFT_BEHIND = (
    _UNENDED.where(
        RUNS.c.status != "requires_action",  # carried out by nobody: a row that waits for its client
        or_(RUNS.c.owner.is_(None), and_(RUNS.c.owner != bindparam("server"), ~_OWNED_BY_LIVING)),
    )
).limit(TAKEN_AT_ONCE)
_SAY_SEEN = update(SERVERS).where(SERVERS.c.id == bindparam("server")).values(seen_at=_NOW_MS)
_ADD_SERVER = insert(SERVERS).values(id=bindparam("server"), seen_at=_NOW_MS)
_REMOVE_SERVER = delete(SERVERS).where(SERVERS.c.id == bindparam("server"))
_REMOVE_LAPSED = delete(SERVERS).where(_LAPSED)
_OWN = update(RUNS).where(RUNS.c.id == bindparam("key")).values(owner=bindparam("server"))
_OF_THREAD, _OF_RUN = RUNS.c.thread_id == bindparam("thread"), STEPS.c.run_id == bindparam("run")
_OVERDUE = select(RUNS).where(
    RUNS.c.ended_at.is_(None), RUNS.c.status == "requires_action", RUNS.c.expires_at <= bindparam("now")
)
_LOCK_THREAD = (
    update(THREADS)
    .where(
        THREADS.c.id == bindparam("key"),
        THREADS.c.project_id == bindparam("project"),
        FREE,
    )
    .values(active_run_id=bindparam("run"), last_position=THREADS.c.last_position + bindparam("count"))
    .returning(THREADS.c.last_position, THREADS.c.assistant_id)
)


class RunReader:
    """Reads one project's runs."""

    def __init__(self, tx: ReadTx, project_id: str) -> None:
        self._tx = tx
        self.project_id = project_id

    def require(self, thread_id: str, run_id: str) -> Row[Any]:
        """Return a run's row. Raises NotFound, for the thread or the run."""
        row = self._tx.first(_FIND, {"key": run_id, "thread": thread_id, "project": self.project_id})
        if row is None:
            ThreadReader(self._tx, self.project_id).require(thread_id)
            raise NotFound(f"No run found with id '{run_id}'.")
        return row

    def characters_told(self, options: RunOptions) -> int:
        """Return how long instructions and tools of a run will be: its own, or its assistant's. Raises NotFound."""
        told = [options.instructions or "", to_json(options.tools or [])]
        if options.assistant_id is not None:
            row = AssistantReader(self._tx, self.project_id).require(options.assistant_id)
            told = [told[0] or row.instructions or "", row.tools if options.tools is None else told[1]]
        more = options.additional_instructions if isinstance(options, CreateRun) else None
        return sum(map(len, told)) + len(more or "")

    def page(self, thread_id: str, query: PageQuery) -> Page[Run]:
        """Return one page of a thread's runs. Raises NotFound."""
        ThreadReader(self._tx, self.project_id).require(thread_id)
        return read_page(self._tx, RUNS, _OF_THREAD, BY_CREATION, query, run_of, given={"thread": thread_id}, once=True)

    def steps(self, thread_id: str, run_id: str, query: PageQuery) -> Page[RunStep]:
        """Return one page of a run's steps. Raises NotFound."""
        self.require(thread_id, run_id)
        return read_page(self._tx, STEPS, _OF_RUN, BY_CREATION, query, step_of, given={"run": run_id}, once=True)

    def step(self, thread_id: str, run_id: str, step_id: str) -> RunStep:
        """Return one step. Raises NotFound."""
        self.require(thread_id, run_id)
        row = self._tx.first(_FIND_STEP, {"key": step_id, "run": run_id})
        if row is None:
            raise NotFound(f"No run step found with id '{step_id}'.")
        return step_of(row)


class RunWriter(RunReader):
    """Accepts runs, on behalf of the server that is to carry them out, and changes their metadata."""

    def __init__(self, tx: WriteTx, caller: Caller, *, owner: str | None = None) -> None:
        super().__init__(tx, caller.project_id)
        self._write = tx
        self._caller = caller
        self._owner = owner

    def accept(
        self, thread_id: str, wanted: RunInput, messages: Sequence[CreateMessage], at: int, *, starts: bool
    ) -> tuple[Row[Any], list[Stamped]]:
        """Lock the thread and add a run with its input; return its row and first events. `starts`: it has a slot.

        Raises NotFound, and InvalidRequest when another run holds the thread.
        """
        run_id = new_id("run")
        lock = {"key": thread_id, "project": self.project_id, "run": run_id, "count": len(messages)}
        lock |= {"lapsed": lapsed(at)}
        thread = self._write.first(_LOCK_THREAD, lock)
        if thread is None:
            active = ThreadReader(self._write, self.project_id).require(thread_id).active_run_id
            raise InvalidRequest(f"Thread {thread_id} already has an active run {active}.")
        first = thread.last_position - len(messages) + 1
        MessageWriter(self._write, self._caller).insert(thread_id, messages, at, first=first)
        assistant = self._assistant(wanted.options.assistant_id or thread.assistant_id)
        identity: dict[str, Any] = {"id": run_id, "thread_id": thread_id}
        identity |= {"project_id": self.project_id, "key_id": self._caller.key_id, "owner": self._owner}
        columns = NOTHING_YET | run_columns(wanted, assistant, at) | identity
        require_model(self._caller, str(columns["model"]))
        accepted = first_events(at, starts=starts)
        if starts:
            columns |= {"status": "in_progress", "started_at": at}
        self._write.run(_ADD, columns)
        record(self._write, self._caller, "run.create", run_id, at)
        record_events(self._write, run_id, accepted, at)
        return row_of(columns), accepted

    def submit(
        self, thread_id: str, run_id: str, outputs: Sequence[ToolOutput], at: int, *, starts: bool
    ) -> tuple[Row[Any], list[Stamped]]:
        """Take every output that a run waits for; return its row and all its events. `starts`: it has a slot.

        Raises NotFound, and InvalidRequest when the run does not wait or other outputs are wanted.
        """
        row = self.require(thread_id, run_id)
        if row.status != "requires_action" or row.expires_at <= at:
            status = "expired" if row.status == "requires_action" else row.status
            raise InvalidRequest(f'Runs in status "{status}" do not accept tool outputs.')
        past = past_of(self._write, run_id)
        turn = Turn(spec_of(row), past)
        wanted = [call.id for call in turn.calls]
        got = [output.tool_call_id for output in outputs]
        if sorted(wanted) != sorted(str(call_id) for call_id in got):
            raise InvalidRequest(f"Expected tool outputs for call_ids {wanted}, got {got}")
        submitted = OutputsSubmitted(at=at, outputs={str(given.tool_call_id): given.output or "" for given in outputs})
        events = (submitted, TurnStarted(at=at)) if starts else (submitted,)
        past += append_in(self._write, turn, events)
        self._write.run(_OWN, {"key": run_id, "server": self._owner})
        record(self._write, self._caller, "run.submit_tool_outputs", run_id, at)
        return self.require(thread_id, run_id), past

    def begin_cancel(self, thread_id: str, run_id: str, at: int) -> Row[Any]:
        """Record that a run is to be cancelled; return its row.

        Raises NotFound, and InvalidRequest when it has ended.
        """
        row = self.require(thread_id, run_id)
        if row.status in ENDED:
            raise InvalidRequest(f"Cannot cancel run with status '{row.status}'.")
        record(self._write, self._caller, "run.cancel", run_id, at)
        return row

    def cancel(self, thread_id: str, run_id: str, at: int) -> TurnSpec | None:
        """End a run that no task carries out as cancelled; None when it has ended. Raises NotFound."""
        row = self.require(thread_id, run_id)
        turn = Turn(spec_of(row), past_of(self._write, run_id))
        if turn.ended:
            return None
        append_in(self._write, turn, closing(turn, "run_cancelled", TurnCancelled(at=at, usage=turn.usage)))
        return turn.spec

    def _assistant(self, assistant_id: str | None) -> Row[Any]:
        if assistant_id is None:
            raise InvalidRequest(
                "Missing required parameter: 'assistant_id'.",
                param="assistant_id",
                code="missing_required_parameter",
            )
        return AssistantReader(self._write, self.project_id).require(assistant_id)

    def set_metadata(self, thread_id: str, run_id: str, metadata: dict[str, str], at: int) -> Row[Any]:
        """Replace a run's metadata and return its row. Raises NotFound."""
        self.require(thread_id, run_id)
        self._write.run(_SET_METADATA, {"key": run_id, "pairs": to_json(metadata)})
        record(self._write, self._caller, "run.update", run_id, at)
        return self.require(thread_id, run_id)


def unended(tx: ReadTx) -> Sequence[Row[Any]]:
    """Return every run that has not ended, of all projects, oldest first: what a stopped process left."""
    return tx.all(_UNENDED)


def left_behind(tx: ReadTx, server: str, lease_s: float) -> Sequence[Row[Any]]:
    """Return runs, TAKEN_AT_ONCE at most, that are to be carried out and that no living server but `server` owns."""
    return tx.all(_LEFT_BEHIND, {"server": server, "lease_ms": round(lease_s * 1000)})


def say_seen(tx: WriteTx, server: str) -> None:
    """Note that a server lives, also one that was away for so long that others removed it."""
    if not tx.run(_SAY_SEEN, {"server": server}):
        tx.run(_ADD_SERVER, {"server": server})


def remove_server(tx: WriteTx, server: str) -> None:
    """Forget a server: what it owns is anybody's."""
    tx.run(_REMOVE_SERVER, {"server": server})


def remove_lapsed(tx: WriteTx, lease_s: float) -> None:
    """Forget the servers that were not seen for so long: they own nothing any more."""
    tx.run(_REMOVE_LAPSED, {"lease_ms": round(lease_s * 1000)})


def overdue(tx: ReadTx, at: int) -> Sequence[Row[Any]]:
    """Return the runs that wait for outputs and whose time is up, of all projects."""
    return tx.all(_OVERDUE, {"now": at})


def expire(tx: WriteTx, row: Row[Any], at: int) -> TurnSpec | None:
    """End a run that waited too long as expired; None when it waits no more."""
    turn = Turn(spec_of(row), past_of(tx, row.id))
    if turn.status != "requires_action":
        return None
    append_in(tx, turn, closing(turn, "run_expired", TurnExpired(at=at, usage=turn.usage)))
    return turn.spec


def requeue(tx: WriteTx, row: Row[Any], owner: str, at: int) -> tuple[TurnSpec, list[Stamped]] | None:
    """Bring a run that a stopped process left behind to where it can go on; None when nothing is to be carried out.

    An attempt that was under way is given up and its run queued again under a new fence; a cancellation is finished;
    a run that waits for outputs goes on waiting. Raises LostRun when another server was faster.
    """
    spec, past = take_over(tx, spec_of(row), owner), past_of(tx, row.id)
    turn = Turn(spec, past)
    match turn.status:
        case "queued":
            return spec, past
        case "in_progress":
            turn.leave_numbers()
            return spec, past + append_in(tx, turn, (TurnRequeued(at=at),))
        case "cancelling":
            append_in(tx, turn, closing(turn, "run_cancelled", TurnCancelled(at=at, usage=turn.usage)))
            return None
        case _:
            return None
