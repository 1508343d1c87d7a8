"""From lines to columns and back. A line that is made of a row becomes the same row again. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, Struct, convert, json
from msgspec.structs import replace

from app.assistants.schemas import decode_format, decode_metadata, decode_resources, decode_tools
from app.assistants.tools import NewToolResources
from app.db.tables import DEFAULT_PROJECT
from app.keys.limits import UNLIMITED
from app.kit.wire import to_json
from app.messages.content import TextPart, TextValue, decode_parts
from app.messages.schemas import decode_attachments
from app.moving.lines import (
    AssistantLine,
    CutDetails,
    ErrorDetails,
    ItemLine,
    Line,
    MessageLine,
    ProjectLine,
    ResponseLine,
    RunDetails,
    RunLine,
    StepLine,
    ThreadLine,
    VectorStoreLine,
)
from app.runs.rows import decode_choice, decode_details, decode_truncation, decode_usage
from app.runs.schemas import ShownTruncation

Columns = dict[str, Any]
Row = Mapping[str, Any]

decode_error = json.Decoder(ErrorDetails).decode
OVER = ("ended_at", "completed_at", "failed_at", "cancelled_at", "expired_at")
"""Where OpenAI's objects say when something ended: one of them is no null."""


def kind_of(line: Struct) -> str:
    """Return what a line says that it is: `thread.message`."""
    return str(line.__struct_config__.tag)


def columns_of(line: Line) -> Columns:
    """Return what a row of a line holds, but for its project and for a position that has to be given first."""
    columns = _COLUMNS[type(line)](line)
    return {"id": line.id, "created_at": line.created_at, **columns}


def line_of(kind: str, row: Row) -> Line:
    """Return the line of a row."""
    return _LINES[kind](row)


def same(kind: str, row: Row, columns: Row) -> bool:
    """Tell whether a row holds what a line's columns say, wherever in its thread it stands."""
    return _placeless(line_of(kind, row)) == _placeless(line_of(kind, columns))


def _placeless(line: Line) -> Line:
    if isinstance(line, MessageLine | ItemLine | StepLine):
        return replace(line, position=UNSET)
    if isinstance(line, ThreadLine | RunLine):
        return replace(line, last_position=UNSET)
    return replace(line, first_position=1) if isinstance(line, ResponseLine) else line


def _document(value: object) -> str | None:
    return None if value is None else to_json(value)


def _given(value: Any) -> Any:
    return None if value is UNSET else value


def _first(*moments: Any) -> Any:
    return next((moment for moment in moments if moment is not UNSET and moment is not None), None)


def _project_columns(line: ProjectLine) -> Columns:
    at = _given(line.created_at) or 0
    return {"name": line.name, "limits": to_json(UNLIMITED), "created_at": at, "changed_at": at * 1000}


def _project_line(row: Row) -> ProjectLine:
    is_default = row["id"] == DEFAULT_PROJECT
    return ProjectLine(id=row["id"], created_at=UNSET if is_default else row["created_at"], name=row["name"])


def _store_columns(line: VectorStoreLine) -> Columns:
    return {"name": line.name, "metadata": to_json(line.metadata or {})}


def _store_line(row: Row) -> VectorStoreLine:
    return VectorStoreLine(
        id=row["id"], created_at=row["created_at"], name=row["name"], metadata=decode_metadata(row["metadata"])
    )


ALIKE = ("model", "temperature", "top_p", "reasoning_effort")


def _settings_columns(line: AssistantLine | RunLine) -> Columns:
    """Return what an assistant and a run have in common."""
    answer_format = None if line.response_format == "auto" else line.response_format
    return {
        **{name: getattr(line, name) for name in ALIKE},
        "tools": to_json(line.tools),
        "tool_resources": _document(line.tool_resources),
        "metadata": to_json(line.metadata or {}),
        "response_format": _document(answer_format),
    }


def _settings(row: Row) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("id", "created_at", "instructions", *ALIKE)},
        "tools": decode_tools(row["tools"]),
        "tool_resources": _resources(row),
        "metadata": decode_metadata(row["metadata"]),
        "response_format": decode_format(row["response_format"]) if row["response_format"] else "auto",
    }


def _resources(row: Row) -> NewToolResources | None:
    return decode_resources(row["tool_resources"]) if row["tool_resources"] else None


def _assistant_columns(line: AssistantLine) -> Columns:
    own = {name: getattr(line, name) for name in ("name", "description", "instructions")}
    return _settings_columns(line) | own


def _assistant_line(row: Row) -> AssistantLine:
    return AssistantLine(name=row["name"], description=row["description"], **_settings(row))


def _thread_columns(line: ThreadLine) -> Columns:
    return {
        "metadata": to_json(line.metadata or {}),
        "tool_resources": _document(line.tool_resources),
        "assistant_id": _given(line.assistant_id),
        "active_run_id": None,
        "last_position": _given(line.last_position) or 0,
        "parent_id": _given(line.parent_id),
        "parent_position": _given(line.parent_position),
    }


def _thread_line(row: Row) -> ThreadLine:
    some = {name: row[name] for name in ("assistant_id", "parent_id", "parent_position") if row[name] is not None}
    return ThreadLine(
        id=row["id"],
        created_at=row["created_at"],
        metadata=decode_metadata(row["metadata"]),
        tool_resources=_resources(row),
        last_position=row["last_position"],
        **some,
    )


MADE = ("thread_id", "assistant_id", "run_id", "role")


def _message_columns(line: MessageLine) -> Columns:
    # Who was writing it will not go on: it is what it was when that was cut short.
    writing = line.status == "in_progress"
    text = line.content
    reason = "run_failed" if writing else line.incomplete_details and line.incomplete_details.reason
    return {
        **{name: getattr(line, name) for name in MADE},
        "position": _given(line.position),
        "status": "incomplete" if writing else line.status or "completed",
        "content": to_json([TextPart(text=TextValue(value=text))] if isinstance(text, str) else text),
        "attachments": to_json(line.attachments or []),
        "metadata": to_json(line.metadata or {}),
        "incomplete_reason": reason,
        "completed_at": line.completed_at,
        "incomplete_at": line.created_at if writing else line.incomplete_at,
    }


def _message_line(row: Row) -> MessageLine:
    reason = row["incomplete_reason"]
    return MessageLine(
        **{name: row[name] for name in ("id", "created_at", "status", "completed_at", "incomplete_at", *MADE)},
        position=row["position"],
        incomplete_details=CutDetails(reason=reason) if reason else None,
        content=decode_parts(row["content"]),
        attachments=decode_attachments(row["attachments"]) if row["attachments"] else [],
        metadata=decode_metadata(row["metadata"]),
    )


ITEM = ("thread_id", "type", "call_id", "run_id")


def _item_columns(line: ItemLine) -> Columns:
    own = {name: getattr(line, name) for name in ITEM}
    return own | {"position": _given(line.position), "body": to_json(line.body)}


def _item_line(row: Row) -> ItemLine:
    own = {name: row[name] for name in ("id", "created_at", "position", *ITEM)}
    return ItemLine(**own, body=json.decode(row["body"]))


RUN = ("thread_id", "assistant_id", "status", "started_at", "max_prompt_tokens", "max_completion_tokens")


def _run_columns(line: RunLine) -> Columns:
    over = [getattr(line, name) for name in OVER if name != "expired_at"]
    return {
        **_settings_columns(line),
        **{name: getattr(line, name) for name in RUN},
        "fence": 1,
        "expires_at": _first(line.expires_at, line.created_at),
        "ended_at": _first(*over, line.started_at, line.created_at),
        "last_error": _document(line.last_error),
        "incomplete_reason": line.incomplete_details and line.incomplete_details.reason,
        "required_action": None,
        "usage": _document(line.usage),
        "instructions": line.instructions or "",
        "truncation_strategy": to_json(line.truncation_strategy or ShownTruncation()),
        "tool_choice": to_json("auto" if line.tool_choice is None else line.tool_choice),
        "parallel_tool_calls": line.parallel_tool_calls is not False,
        "key_id": None,
        "owner": None,
        "surface": _given(line.surface) or "run",
        "whole_context": _given(line.whole_context) or False,
        "last_position": _given(line.last_position),
    }


def _run_line(row: Row) -> RunLine:
    reason = row["incomplete_reason"]
    return RunLine(
        **_settings(row),
        **{name: row[name] for name in RUN},
        **{name: row[name] for name in ("expires_at", "ended_at", "surface", "whole_context", "last_position")},
        last_error=decode_error(row["last_error"]) if row["last_error"] else None,
        incomplete_details=RunDetails(reason=reason) if reason else None,
        usage=decode_usage(row["usage"]) if row["usage"] else None,
        truncation_strategy=decode_truncation(row["truncation_strategy"]),
        tool_choice=decode_choice(row["tool_choice"]),
        parallel_tool_calls=row["parallel_tool_calls"],
    )


STEP = ("thread_id", "run_id", "assistant_id", "type", "status")


def _step_columns(line: StepLine) -> Columns:
    return {
        **{name: getattr(line, name) for name in STEP},
        "position": _given(line.position),
        "step_details": to_json(line.step_details),
        "last_error": _document(line.last_error),
        "ended_at": _first(*(getattr(line, name) for name in OVER), line.created_at),
        "metadata": to_json(line.metadata or {}),
        "usage": _document(line.usage),
    }


def _step_line(row: Row) -> StepLine:
    return StepLine(
        **{name: row[name] for name in ("id", "created_at", "position", "ended_at", *STEP)},
        step_details=decode_details(row["step_details"]),
        last_error=decode_error(row["last_error"]) if row["last_error"] else None,
        metadata=decode_metadata(row["metadata"]),
        usage=decode_usage(row["usage"]) if row["usage"] else None,
    )


RESPONSE = ("thread_id", "run_id", "previous_response_id", "background", "first_position", "input_count")


def _response_columns(line: ResponseLine) -> Columns:
    own = {name: getattr(line, name) for name in RESPONSE}
    return own | {"metadata": to_json(line.metadata or {}), "settings": to_json(line.settings)}


def _response_line(row: Row) -> ResponseLine:
    return ResponseLine(
        **{name: row[name] for name in ("id", "created_at", *RESPONSE)},
        metadata=decode_metadata(row["metadata"]),
        settings=convert(json.decode(row["settings"]), dict[str, Any]),
    )


_COLUMNS: dict[type[Line], Callable[[Any], Columns]] = {
    ProjectLine: _project_columns,
    VectorStoreLine: _store_columns,
    AssistantLine: _assistant_columns,
    ThreadLine: _thread_columns,
    MessageLine: _message_columns,
    ItemLine: _item_columns,
    RunLine: _run_columns,
    StepLine: _step_columns,
    ResponseLine: _response_columns,
}
_LINES: dict[str, Callable[[Row], Line]] = {
    "project": _project_line,
    "vector_store": _store_line,
    "assistant": _assistant_line,
    "thread": _thread_line,
    "thread.message": _message_line,
    "thread.item": _item_line,
    "thread.run": _run_line,
    "thread.run.step": _step_line,
    "thread.response": _response_line,
}
KINDS = tuple(_LINES)
