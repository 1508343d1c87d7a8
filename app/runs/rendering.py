"""Turns engine events into the Assistants API's stream: `thread.run.*`, `thread.run.step.*`, `thread.message.*`.

A pure reducer: it holds the run, step and message as the reader has seen them, and adds each event to them.
"""

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from app.engine.events import (
    MessageFinished,
    MessageStarted,
    MessageStopped,
    TextAdded,
    TurnCompleted,
    TurnEvent,
    TurnExpired,
    TurnFailed,
    TurnIncomplete,
    TurnQueued,
    TurnStarted,
)
from app.engine.journal import step_status
from app.engine.turn import Stamped
from app.messages.content import TextPart, TextValue
from app.messages.schemas import Message, MessageIncompleteDetails
from app.runs.rows import last_error_of, step_error_of
from app.runs.schemas import IncompleteDetails, MadeMessage, MessageCreationDetails, Run, RunStep
from app.web.events import frame

encode = msgspec.json.Encoder().encode


class RunStream:
    """The stream of one run for one reader. Starts from the run as it was created."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._step: RunStep | None = None
        self._message: Message | None = None
        self._text: list[str] = []
        self._delta_head = b""

    def feed(self, events: Sequence[Stamped]) -> bytes:
        """Take events in and return their frames."""
        return b"".join(self._frames(stamped.event) for stamped in events)

    def _frames(self, event: TurnEvent) -> bytes:
        match event:
            case TextAdded():
                return self._delta(event.text)
            case TurnQueued():
                return self._run_frame(b"created") + self._run_frame(b"queued")
            case TurnStarted():
                return self._run_becomes(status="in_progress", started_at=event.at)
            case MessageStarted():
                return self._open_message(event)
            case MessageFinished():
                return self._close_message(status="completed", completed_at=event.at) + self._close_step(
                    "completed", event.at, usage=event.usage
                )
            case MessageStopped():
                return self._stop_message(event)
            case TurnCompleted():
                return self._run_becomes(status="completed", completed_at=event.at, usage=event.usage, expires_at=None)
            case TurnIncomplete():
                details = IncompleteDetails(reason=event.reason)
                return self._run_becomes(
                    status="incomplete", incomplete_details=details, usage=event.usage, expires_at=None
                )
            case TurnFailed():
                error = last_error_of(event.error)
                return self._run_becomes(
                    status="failed", failed_at=event.at, last_error=error, usage=event.usage, expires_at=None
                )
            case TurnExpired():
                return self._run_becomes(status="expired", usage=event.usage)
            case _:
                assert_never(event)

    def _run_frame(self, name: bytes) -> bytes:
        return frame(b"thread.run." + name, encode(self.run))

    def _run_becomes(self, **changes: Any) -> bytes:
        self.run = replace(self.run, **changes)
        return self._run_frame(self.run.status.encode())

    def _open_message(self, event: MessageStarted) -> bytes:
        self._step = new_step(self.run, event)
        self._message = new_message(self.run, event)
        self._text = []
        step, message = encode(self._step), encode(self._message)
        return b"".join(
            (
                frame(b"thread.run.step.created", step),
                frame(b"thread.run.step.in_progress", step),
                frame(b"thread.message.created", message),
                frame(b"thread.message.in_progress", message),
            )
        )

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


def new_step(run: Run, event: MessageStarted) -> RunStep:
    """Return the step of a message that begins."""
    return RunStep(
        id=event.step_id,
        created_at=event.at,
        assistant_id=run.assistant_id,
        thread_id=run.thread_id,
        run_id=run.id,
        type="message_creation",
        status="in_progress",
        step_details=MessageCreationDetails(message_creation=MadeMessage(message_id=event.message_id)),
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
