"""Turns engine events into the Assistants API's stream: `thread.run.*`, `thread.run.step.*`, `thread.message.*`.

A pure reducer: it holds the run, step and message as the reader has seen them, and adds each event to them.
"""

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from app.engine.events import (
    ArgumentsAdded,
    CallsFinished,
    MessageFinished,
    MessageStarted,
    MessageStopped,
    OutputsRequired,
    OutputsSubmitted,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    TextAdded,
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
)
from app.engine.journal import RunEvent, step_status
from app.engine.turn import Call, Stamped
from app.messages.content import TextPart, TextValue
from app.messages.schemas import Message, MessageIncompleteDetails
from app.runs.rows import last_error_of, step_error_of
from app.runs.schemas import (
    IncompleteDetails,
    MadeMessage,
    MessageCreationDetails,
    RequiredAction,
    RequiredToolCall,
    Run,
    RunStep,
    StepError,
    StepFunctionCall,
    SubmitToolOutputs,
    ToolCallsDetails,
)
from app.web.events import frame

encode = msgspec.json.Encoder().encode

GIVEN_UP = "This attempt was given up; the run is queued again."


class RunStream:
    """The stream of one run for one reader. Starts from the run as it was created."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._step: RunStep | None = None
        self._message: Message | None = None
        self._text: list[str] = []
        self._calls: list[Call] = []
        self._delta_head = b""

    def feed(self, events: Sequence[Stamped]) -> bytes:
        """Take events in and return their frames."""
        return b"".join(self._frames(stamped.event) for stamped in events)

    def feed_numbered(self, events: Sequence[Stamped], after: int) -> bytes:
        """Take events in and return the frames of those above a number, each event's last frame with its number."""
        frames = [(stamped.seq, self._frames(stamped.event)) for stamped in events]
        return b"".join(data[:-1] + b"id: %d\n\n" % seq for seq, data in frames if data and seq > after)

    def _frames(self, event: TurnEvent) -> bytes:
        match event:
            case TextAdded():
                return self._delta(event.text)
            case ArgumentsAdded():
                return self._call_delta(event.index, {"arguments": event.text})
            case MessageStarted():
                return self._open_message(event)
            case MessageFinished():
                return self._close_message(status="completed", completed_at=event.at) + self._close_step(
                    "completed", event.at, usage=event.usage
                )
            case MessageStopped():
                return self._stop_message(event)
            case ToolCallsStarted():
                return self._open_calls(event)
            case ToolCallAdded():
                return self._add_call(event)
            case ToolCallsStopped():
                return self._stop_calls(event)
            case CallsFinished():
                return self._close_step("completed", event.at, usage=event.usage, step_details=self._call_details())
            case ReasoningStarted() | ReasoningAdded() | ReasoningFinished():
                return b""  # a response's: this surface has no name for it
            case _:
                return self._run_frames(event)

    def _run_frames(self, event: RunEvent | TurnQueued) -> bytes:
        """Return the frames of an event that changes the run."""
        match event:
            case TurnQueued():
                return self._run_frame(b"created") + self._run_frame(b"queued")
            case TurnStarted():
                return self._run_becomes(status="in_progress", started_at=event.at)
            case TurnRequeued():
                return self._give_up(event) + self._run_becomes(status="queued", started_at=None)
            case OutputsRequired():
                return self._require_outputs(event)
            case OutputsSubmitted():
                return self._take_outputs(event)
            case TurnCancelling():
                return self._run_becomes(status="cancelling", required_action=None)
            case _:
                return self._end_run(event)

    def _end_run(self, event: TurnEnded) -> bytes:
        ended: dict[str, Any] = {"usage": event.usage, "required_action": None}
        match event:
            case TurnCompleted():
                return self._run_becomes(status="completed", completed_at=event.at, expires_at=None, **ended)
            case TurnIncomplete():
                details = IncompleteDetails(reason=event.reason)
                return self._run_becomes(status="incomplete", incomplete_details=details, expires_at=None, **ended)
            case TurnFailed():
                error = last_error_of(event.error)
                return self._run_becomes(
                    status="failed", failed_at=event.at, last_error=error, expires_at=None, **ended
                )
            case TurnCancelled():
                return self._run_becomes(status="cancelled", cancelled_at=event.at, expires_at=None, **ended)
            case TurnExpired():
                return self._run_becomes(status="expired", **ended)
            case _:
                assert_never(event)

    def _run_frame(self, name: bytes) -> bytes:
        return frame(b"thread.run." + name, encode(self.run))

    def _run_becomes(self, **changes: Any) -> bytes:
        self.run = replace(self.run, **changes)
        return self._run_frame(self.run.status.encode())

    def _open_step(self, step: RunStep) -> bytes:
        self._step = step
        data = encode(step)
        return frame(b"thread.run.step.created", data) + frame(b"thread.run.step.in_progress", data)

    def _open_message(self, event: MessageStarted) -> bytes:
        made = MadeMessage(message_id=event.message_id)
        step = new_step(self.run, event.step_id, event.at, MessageCreationDetails(message_creation=made))
        self._message = new_message(self.run, event)
        self._text = []
        message = encode(self._message)
        return (
            self._open_step(step)
            + frame(b"thread.message.created", message)
            + frame(b"thread.message.in_progress", message)
        )

    def _open_calls(self, event: ToolCallsStarted) -> bytes:
        self._calls = []
        return self._open_step(new_step(self.run, event.step_id, event.at, ToolCallsDetails(tool_calls=[])))

    def _add_call(self, event: ToolCallAdded) -> bytes:
        self._calls.append(Call(event.id, event.name))
        return self._call_delta(event.index, {"name": event.name, "arguments": "", "output": None}, id=event.id)

    def _call_delta(self, index: int, function: dict[str, Any], **identity: str) -> bytes:
        assert self._step is not None
        self._calls[index].arguments += function["arguments"]
        call = {"index": index, **identity, "type": "function", "function": function}
        details = {"type": "tool_calls", "tool_calls": [call]}
        delta = {"id": self._step.id, "object": "thread.run.step.delta", "delta": {"step_details": details}}
        return frame(b"thread.run.step.delta", encode(delta))

    def _require_outputs(self, event: OutputsRequired) -> bytes:
        assert self._step is not None
        self._step = replace(self._step, step_details=self._call_details(), usage=event.usage)
        calls = [msgspec.convert(call.requirement(), RequiredToolCall) for call in self._calls]
        action = RequiredAction(submit_tool_outputs=SubmitToolOutputs(tool_calls=calls))
        return self._run_becomes(status="requires_action", required_action=action)

    def _take_outputs(self, event: OutputsSubmitted) -> bytes:
        for call in self._calls:
            call.output = event.outputs.get(call.id)
        closed = self._close_step("completed", event.at, step_details=self._call_details())
        return closed + self._run_becomes(status="queued", required_action=None)

    def _stop_calls(self, event: ToolCallsStopped) -> bytes:
        assert self._step is not None
        error = step_error_of(event.error) if event.error is not None else None
        usage = event.usage or self._step.usage
        changes = {"last_error": error, "usage": usage, "step_details": self._call_details()}
        return self._close_step(step_status(event), event.at, **changes)

    def _give_up(self, event: TurnRequeued) -> bytes:
        """Close what the attempt had open, for readers who were told of it: it is no longer to be found."""
        frames = b""
        if self._message is not None and self._message.status == "in_progress":
            details = MessageIncompleteDetails(reason="run_failed")
            frames += self._close_message(status="incomplete", incomplete_at=event.at, incomplete_details=details)
        if self._step is not None and self._step.status == "in_progress":
            error = StepError(code="server_error", message=GIVEN_UP)
            frames += self._close_step("failed", event.at, last_error=error)
        return frames

    def _call_details(self) -> ToolCallsDetails:
        return ToolCallsDetails(tool_calls=[msgspec.convert(call.detail(), StepFunctionCall) for call in self._calls])

    def _delta(self, text: str) -> bytes:
        if not self._text:
            assert self._message is not None
            start = {"id": self._message.id, "object": "thread.message.delta"}
            self._delta_head = (
                b"event: thread.message.delta\ndata: "
                + encode(start)[:-1]
                + b',"delta":{"content":[{"index":0,"type":"text","text":{"value":'
            )
            tail = b',"annotations":[]}}]}}\n\n'
        else:
            tail = b"}}]}}\n\n"
        self._text.append(text)
        return self._delta_head + encode(text) + tail

    def _close_message(self, **changes: Any) -> bytes:
        assert self._message is not None
        text = "".join(self._text)
        content = [TextPart(text=TextValue(value=text))] if text or changes["status"] == "completed" else []
        self._message = replace(self._message, content=content, **changes)
        return frame(b"thread.message." + self._message.status.encode(), encode(self._message))

    def _close_step(self, status: str, at: int, **changes: Any) -> bytes:
        assert self._step is not None
        self._step = replace(self._step, status=status, **{f"{status}_at": at}, **changes)
        return frame(b"thread.run.step." + status.encode(), encode(self._step))

    def _stop_message(self, event: MessageStopped) -> bytes:
        details = MessageIncompleteDetails(reason=event.reason)
        error = step_error_of(event.error) if event.error is not None else None
        return self._close_message(
            status="incomplete", incomplete_at=event.at, incomplete_details=details
        ) + self._close_step(step_status(event), event.at, usage=event.usage, last_error=error)


def as_created(run: Run) -> Run:
    """Return a run as it was when it was accepted."""
    return replace(
        run,
        status="queued",
        required_action=None,
        last_error=None,
        expires_at=run.expires_at,
        started_at=None,
        cancelled_at=None,
        failed_at=None,
        completed_at=None,
        incomplete_details=None,
        usage=None,
    )


def new_step(run: Run, step_id: str, at: int, details: MessageCreationDetails | ToolCallsDetails) -> RunStep:
    """Return a step that begins."""
    return RunStep(
        id=step_id,
        created_at=at,
        assistant_id=run.assistant_id,
        thread_id=run.thread_id,
        run_id=run.id,
        type="message_creation" if isinstance(details, MessageCreationDetails) else "tool_calls",
        status="in_progress",
        step_details=details,
        last_error=None,
        expired_at=None,
        cancelled_at=None,
        failed_at=None,
        completed_at=None,
        metadata={},
        usage=None,
    )


def new_message(run: Run, event: MessageStarted) -> Message:
    """Return a message that begins."""
    return Message(
        id=event.message_id,
        created_at=event.at,
        thread_id=run.thread_id,
        status="in_progress",
        incomplete_details=None,
        completed_at=None,
        incomplete_at=None,
        role="assistant",
        content=[],
        assistant_id=run.assistant_id,
        run_id=run.id,
        attachments=[],
        metadata={},
    )
