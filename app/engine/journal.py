"""The only writer of runs once they are accepted: each batch of events and what it means for the rows, in one
transaction, refused when another owner has taken the run meanwhile. Reads the events back for late readers.
"""

from collections.abc import Sequence
from typing import Any, assert_never

from msgspec.structs import replace

from app.db.database import Database, ReadTx, WriteTx
from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    Deltas,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RunError,
    TextAdded,
    TokenUsage,
    ToolCallAdded,
    ToolCallsStarted,
    ToolCallsStopped,
    TurnCancelled,
    TurnCancelling,
    TurnCompleted,
    TurnEnded,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnQueued,
    TurnRequeued,
    TurnStarted,
    decode_events,
    encode_events,
)
from app.engine.statements import (
    ADD_EVENTS,
    ADD_ITEM,
    ADD_MESSAGE,
    ADD_STEP,
    DETAIL_STEP,
    DROP_ITEMS_OF_ATTEMPT,
    DROP_MESSAGE,
    DROP_MESSAGES_OF_ATTEMPT,
    DROP_STEPS_OF_ATTEMPT,
    END_CALLS,
    END_MESSAGE,
    END_RUN,
    END_STEP,
    EVENTS_AFTER,
    FINISH_CALLS,
    HOLD_RUN,
    NEXT_POSITION,
    REQUEUE_RUN,
    START_RUN,
    TAKE_OVER,
    UNLOCK_THREAD,
    WAIT_FOR_OUTPUTS,
)
from app.engine.turn import Stamped, Turn, TurnSpec
from app.kit.wire import to_json

EMPTY_JSON = "{}"

RunEvent = TurnStarted | OutputsRequired | OutputsSubmitted | TurnCancelling | TurnRequeued | TurnEnded


class LostRun(Exception):
    """The run was deleted, ended, or taken by another owner: this one must stop."""


class Journal:
    """Writes and reads the events of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, turn: Turn, events: Sequence[Stamped]) -> None:
        """Put events and their effects on disk. Raises LostRun, and then nothing is written."""
        entry = _Entry(turn)
        await self._database.write(lambda tx: entry.write(tx, events))

    async def append_together(self, batches: Sequence[tuple[Turn, Sequence[Stamped]]]) -> set[str]:
        """Put events of several runs on disk in one transaction; return the ids of the runs that are no longer ours."""
        entries = [(_Entry(turn), events) for turn, events in batches]
        return await self._database.write(lambda tx: _write_together(tx, entries))

    async def events_after(self, run_id: str, seq: int) -> list[Stamped]:
        """Read a run's journalled events with numbers above `seq`."""
        return await self._database.read(lambda tx: _events_after(tx, run_id, seq))


def take_over(tx: WriteTx, spec: TurnSpec, owner: str) -> TurnSpec:
    """Make a server the owner of a run that another left: from now on the other's writes are refused.

    Raises LostRun when the run is another's already.
    """
    held = {"run": spec.run_id, "held": spec.fence}
    if tx.first(HOLD_RUN, held) is None or not tx.run(TAKE_OVER, held | {"new_owner": owner}):
        raise LostRun(spec.run_id)
    return replace(spec, fence=spec.fence + 1)


def append_in(tx: WriteTx, turn: Turn, events: Sequence[TurnEvent]) -> list[Stamped]:
    """Number events of a turn that no task carries out and put them on disk, in a transaction that is open already.

    Raises IllegalTransition and LostRun.
    """
    stamped = turn.stamp(events)
    _Entry(turn).write(tx, stamped)
    return stamped


def past_of(tx: ReadTx, run_id: str) -> list[Stamped]:
    """Read every event of a run that has not ended."""
    return _events_after(tx, run_id, 0)


def _write_together(tx: WriteTx, entries: "Sequence[tuple[_Entry, Sequence[Stamped]]]") -> set[str]:
    lost = set()
    for entry, events in entries:
        if entry.hold(tx):
            entry.carry_out(tx, events)
        else:
            lost.add(entry.spec.run_id)
    return lost


def record_events(tx: WriteTx, run_id: str, events: Sequence[Stamped], at: int) -> None:
    """Add one row with a batch of events. Also used by whoever accepts a run, in its transaction."""
    tx.run(
        ADD_EVENTS,
        {
            "run_id": run_id,
            "first_seq": events[0].seq,
            "last_seq": events[-1].seq,
            "written_at": at,
            "events": encode_events([stamped.event for stamped in events]),
        },
    )


def _events_after(tx: ReadTx, run_id: str, seq: int) -> list[Stamped]:
    out = []
    for row in tx.all(EVENTS_AFTER, {"run": run_id, "seen": seq}):
        numbered = enumerate(decode_events(row.events), start=row.first_seq)
        out += [Stamped(number, event) for number, event in numbered if number > seq]
    return out


class _Entry:
    """One transaction of the journal: the turn as it was when the batch was made, since it runs in a thread."""

    def __init__(self, turn: Turn) -> None:
        self.spec = turn.spec
        self.status = turn.status
        self.text = "" if turn.message_open else "".join(turn.text)
        self.reasoning = "".join(turn.reasoning)
        self.reasoning_id = turn.reasoned_id
        self.calls = list(turn.calls)
        self.step_id = turn.step_id
        self.message_id = turn.message_id
        self.at = turn.at

    def write(self, tx: WriteTx, events: Sequence[Stamped]) -> None:
        """Put events and their effects on disk. Raises LostRun."""
        if not self.hold(tx):
            raise LostRun(self.spec.run_id)
        self.carry_out(tx, events)

    def hold(self, tx: WriteTx) -> bool:
        """Keep others from taking or deleting the run until the transaction ends; False when it is no longer ours."""
        return tx.first(HOLD_RUN, {"run": self.spec.run_id, "held": self.spec.fence}) is not None

    def carry_out(self, tx: WriteTx, events: Sequence[Stamped]) -> None:
        """Carry out what the events of a run that is held mean, then add them."""
        for stamped in events:
            self._apply(tx, stamped.event)
        record_events(tx, self.spec.run_id, events, self.at)

    def _apply(self, tx: WriteTx, event: TurnEvent) -> None:
        if not isinstance(event, Deltas):
            self.at = event.at
        match event:
            case MessageStarted():
                self._start_message(tx, event)
            case MessageFinished():
                self._end_message(tx, event.at, "completed", None)
                self._end_step(tx, event.at, "completed", event.usage, None)
            case MessageStopped():
                self._stop_message(tx, event)
            case ToolCallsStarted():
                self._start_calls(tx, event)
            case ToolCallsStopped():
                self._stop_calls(tx, event)
            case CallsFinished():
                tx.run(END_CALLS, self._ended_calls(event.at, "completed", event.usage, None))
            case ReasoningFinished():
                self._keep_reasoning(tx, event.at)
            case (
                TextAdded() | ReasoningAdded() | ToolCallAdded() | ArgumentsAdded() | ReasoningStarted() | TurnQueued()
            ):
                pass
            case _:
                self._apply_to_run(tx, event)

    def _apply_to_run(self, tx: WriteTx, event: RunEvent) -> None:
        """Carry out an event that changes the run's own row. Raises LostRun when it is no longer ours."""
        match event:
            case TurnStarted():
                self._hold(tx.run(START_RUN, self._run_params(event.at, "in_progress")))
            case OutputsRequired():
                self._wait_for_outputs(tx, event)
            case OutputsSubmitted():
                self._hold(tx.run(WAIT_FOR_OUTPUTS, self._run_params(event.at, "queued") | {"action": None}))
                tx.run(FINISH_CALLS, {"step": self.step_id, "at": event.at, "details": self._call_details()})
            case TurnCancelling():
                self._hold(tx.run(WAIT_FOR_OUTPUTS, self._run_params(event.at, "cancelling") | {"action": None}))
            case TurnRequeued():
                self._hold(tx.run(REQUEUE_RUN, self._run_params(event.at, "queued")))
                tx.run(DROP_MESSAGES_OF_ATTEMPT, {"thread": self.spec.thread_id, "run": self.spec.run_id})
                tx.run(DROP_STEPS_OF_ATTEMPT, {"run": self.spec.run_id})
                if self.spec.surface == "response":
                    tx.run(DROP_ITEMS_OF_ATTEMPT, {"thread": self.spec.thread_id, "run": self.spec.run_id})
            case TurnCompleted() | TurnIncomplete() | TurnFailed() | TurnExpired() | TurnCancelled():
                self._end_run(tx, event)
            case _:
                assert_never(event)

    def _start_calls(self, tx: WriteTx, event: ToolCallsStarted) -> None:
        details = to_json({"type": "tool_calls", "tool_calls": []})
        step = {"id": event.step_id, "type": "tool_calls", "step_details": details}
        tx.run(ADD_STEP, self._made(tx, event.at) | step)

    def _wait_for_outputs(self, tx: WriteTx, event: OutputsRequired) -> None:
        calls = {"tool_calls": [call.requirement() for call in self.calls]}
        action = to_json({"type": "submit_tool_outputs", "submit_tool_outputs": calls})
        self._hold(tx.run(WAIT_FOR_OUTPUTS, self._run_params(event.at, "requires_action") | {"action": action}))
        params = {"step": self.step_id, "details": self._call_details(), "tokens": to_json(event.usage)}
        tx.run(DETAIL_STEP, params)

    def _stop_calls(self, tx: WriteTx, event: ToolCallsStopped) -> None:
        tx.run(END_CALLS, self._ended_calls(event.at, step_status(event), event.usage, event.error))

    def _ended_calls(self, at: int, reached: str, usage: TokenUsage | None, error: RunError | None) -> dict[str, Any]:
        return {
            "step": self.step_id,
            "reached": reached,
            "at": at,
            "details": self._call_details(),
            "tokens": to_json(usage) if usage is not None else None,
            "error": to_json(error) if error is not None else None,
        }

    def _keep_reasoning(self, tx: WriteTx, at: int) -> None:
        item = {
            "id": self.reasoning_id,
            "project_id": self.spec.project_id,
            "thread_id": self.spec.thread_id,
            "position": self._next_position(tx),
            "created_at": at,
            "type": "reasoning",
            "call_id": None,
            "body": to_json({"summary": [], "content": [{"type": "reasoning_text", "text": self.reasoning}]}),
            "run_id": self.spec.run_id,
        }
        tx.run(ADD_ITEM, item)

    def _call_details(self) -> str:
        return to_json({"type": "tool_calls", "tool_calls": [call.detail() for call in self.calls]})

    def _hold(self, touched: int) -> None:
        if touched != 1:
            raise LostRun(self.spec.run_id)

    def _run_params(self, at: int, reached: str | None) -> dict[str, Any]:
        return {"run": self.spec.run_id, "held": self.spec.fence, "reached": reached, "at": at}

    def _made(self, tx: WriteTx, at: int) -> dict[str, Any]:
        """Take the thread's next position for what the model makes; return what its row has in any case."""
        return {
            "position": self._next_position(tx),
            "project_id": self.spec.project_id,
            "thread_id": self.spec.thread_id,
            "assistant_id": self.spec.assistant_id,
            "run_id": self.spec.run_id,
            "created_at": at,
            "status": "in_progress",
            "metadata": EMPTY_JSON,
        }

    def _next_position(self, tx: WriteTx) -> int:
        row = tx.first(NEXT_POSITION, {"thread": self.spec.thread_id})
        if row is None:
            raise LostRun(self.spec.run_id)
        position: int = row.last_position
        return position

    def _start_message(self, tx: WriteTx, event: MessageStarted) -> None:
        made = self._made(tx, event.at)
        message = {"id": event.message_id, "role": "assistant", "content": "[]", "attachments": "[]"}
        tx.run(ADD_MESSAGE, made | message)
        details = {"type": "message_creation", "message_creation": {"message_id": event.message_id}}
        step = {"id": event.step_id, "type": "message_creation", "step_details": to_json(details)}
        tx.run(ADD_STEP, made | step)

    def _end_message(self, tx: WriteTx, at: int, reached: str, reason: str | None) -> None:
        part = {"type": "text", "text": {"value": self.text, "annotations": []}}
        tx.run(
            END_MESSAGE,
            {
                "message": self.message_id,
                "reached": reached,
                "text": to_json([part]),
                "whole_at": at if reason is None else None,
                "cut_at": None if reason is None else at,
                "reason": reason,
            },
        )

    def _stop_message(self, tx: WriteTx, event: MessageStopped) -> None:
        if self.text:
            self._end_message(tx, event.at, "incomplete", event.reason)
        else:
            tx.run(DROP_MESSAGE, {"message": self.message_id})
        error = to_json(event.error) if event.error is not None else None
        self._end_step(tx, event.at, step_status(event), event.usage, error)

    def _end_step(self, tx: WriteTx, at: int, reached: str, usage: TokenUsage | None, error: str | None) -> None:
        tokens = to_json(usage) if usage is not None else None
        tx.run(END_STEP, {"step": self.step_id, "reached": reached, "at": at, "tokens": tokens, "error": error})

    def _end_run(self, tx: WriteTx, event: TurnEnded) -> None:
        params = self._run_params(event.at, self.status) | {
            "tokens": to_json(event.usage),
            "error": to_json(event.error) if isinstance(event, TurnFailed) else None,
            "reason": event.reason if isinstance(event, TurnIncomplete) else None,
            "thread": self.spec.thread_id,
        }
        self._hold(tx.run(END_RUN, params))
        tx.run(UNLOCK_THREAD, {"thread": self.spec.thread_id, "run": self.spec.run_id})


def step_status(event: MessageStopped | ToolCallsStopped) -> str:
    """Return how the step of a message or of calls that were stopped ends."""
    match event.reason:
        case "max_tokens" | "content_filter":
            return "completed"
        case "run_cancelled":
            return "cancelled"
        case "run_expired":
            return "expired"
        case "run_failed":
            return "failed"
        case _:
            assert_never(event.reason)
