"""From rows to runs, steps and what the engine needs of them. Pure."""

from typing import Any

import msgspec
from msgspec import json
from sqlalchemy import Row

from app.assistants.schemas import decode_format, decode_metadata, decode_resources, decode_tools
from app.assistants.tools import CodeInterpreterTool, FileSearchTool, FunctionTool, ResponseFormat, shown_resources
from app.engine.events import RunError, TokenUsage
from app.engine.lifecycle import ENDED
from app.engine.turn import TurnSpec
from app.runs.schemas import (
    FunctionChoice,
    IncompleteDetails,
    LastError,
    MessageCreationDetails,
    RequiredAction,
    Run,
    RunStep,
    ShownTruncation,
    StepError,
    ToolCallsDetails,
    ToolChoice,
)

decode_usage = json.Decoder(TokenUsage).decode
decode_error = json.Decoder(RunError).decode
decode_action = json.Decoder(RequiredAction).decode
decode_choice = json.Decoder(ToolChoice).decode
decode_truncation = json.Decoder(ShownTruncation).decode
decode_details = json.Decoder(MessageCreationDetails | ToolCallsDetails).decode


def run_of(row: Row[Any]) -> Run:
    """Return a run as clients receive it."""
    ended_at = {row.status: row.ended_at}
    return Run(
        id=row.id,
        created_at=row.created_at,
        thread_id=row.thread_id,
        assistant_id=row.assistant_id or "",
        status=row.status,
        required_action=decode_action(row.required_action) if row.required_action else None,
        last_error=last_error_of(decode_error(row.last_error)) if row.last_error else None,
        expires_at=None if row.status in ENDED - {"expired"} else row.expires_at,
        started_at=row.started_at,
        cancelled_at=ended_at.get("cancelled"),
        failed_at=ended_at.get("failed"),
        completed_at=ended_at.get("completed"),
        incomplete_details=IncompleteDetails(reason=row.incomplete_reason) if row.incomplete_reason else None,
        model=row.model,
        instructions=row.instructions,
        tools=decode_tools(row.tools),
        tool_resources=shown_resources(decode_resources(row.tool_resources)) if row.tool_resources else None,
        metadata=decode_metadata(row.metadata),
        usage=decode_usage(row.usage) if row.usage else None,
        temperature=row.temperature,
        top_p=row.top_p,
        max_prompt_tokens=row.max_prompt_tokens,
        max_completion_tokens=row.max_completion_tokens,
        truncation_strategy=decode_truncation(row.truncation_strategy),
        tool_choice=decode_choice(row.tool_choice),
        parallel_tool_calls=row.parallel_tool_calls,
        response_format=decode_format(row.response_format) if row.response_format else "auto",
        reasoning_effort=row.reasoning_effort,
    )


def step_of(row: Row[Any]) -> RunStep:
    """Return a step as clients receive it."""
    ended_at = {row.status: row.ended_at}
    return RunStep(
        id=row.id,
        created_at=row.created_at,
        assistant_id=row.assistant_id or "",
        thread_id=row.thread_id,
        run_id=row.run_id,
        type=row.type,
        status=row.status,
        step_details=decode_details(row.step_details),
        last_error=step_error_of(decode_error(row.last_error)) if row.last_error else None,
        expired_at=ended_at.get("expired"),
        cancelled_at=ended_at.get("cancelled"),
        failed_at=ended_at.get("failed"),
        completed_at=ended_at.get("completed"),
        metadata=decode_metadata(row.metadata),
        usage=decode_usage(row.usage) if row.usage and row.status != "in_progress" else None,
    )


def last_error_of(error: RunError) -> LastError:
    """Return a run's error as clients receive it."""
    return LastError(code=error.code, message=error.message)


def step_error_of(error: RunError) -> StepError:
    """Return a step's error as clients receive it: steps know one code fewer."""
    code = "server_error" if error.code == "invalid_prompt" else error.code
    return StepError(code=code, message=error.message)


def spec_of(row: Row[Any]) -> TurnSpec:
    """Return what the engine needs to carry a run out."""
    truncation = decode_truncation(row.truncation_strategy)
    answer_format: ResponseFormat = decode_format(row.response_format) if row.response_format else "auto"
    return TurnSpec(
        run_id=row.id,
        thread_id=row.thread_id,
        project_id=row.project_id,
        assistant_id=row.assistant_id,
        key_id=row.key_id,
        fence=row.fence,
        expires_at=row.expires_at,
        model=row.model,
        instructions=row.instructions,
        temperature=row.temperature,
        top_p=row.top_p,
        max_prompt_tokens=row.max_prompt_tokens,
        max_completion_tokens=row.max_completion_tokens,
        response_format=chat_format(answer_format),
        reasoning_effort=row.reasoning_effort,
        last_messages=truncation.last_messages if truncation.type == "last_messages" else None,
        tools=[msgspec.to_builtins(tool) for tool in decode_tools(row.tools) if isinstance(tool, FunctionTool)],
        tool_choice=chat_choice(decode_choice(row.tool_choice)),
        parallel_tool_calls=row.parallel_tool_calls,
        surface=row.surface,
        whole_context=row.whole_context,
    )


def chat_choice(choice: ToolChoice) -> Any:
    """Return a tool choice as a chat completion takes it; a tool that the model is not offered cannot be chosen."""
    if isinstance(choice, str):
        return choice
    return msgspec.to_builtins(choice) if isinstance(choice, FunctionChoice) else "auto"


def unavailable_tools(run: Run) -> list[str]:
    """Name the kinds of tools that a run has and the model is not offered."""
    kinds = {CodeInterpreterTool: "code_interpreter", FileSearchTool: "file_search"}
    return sorted({kinds[type(tool)] for tool in run.tools if type(tool) in kinds})


def chat_format(wanted: ResponseFormat) -> dict[str, Any] | None:
    """Return a response format as a chat completion takes it; text is what every server answers anyway."""
    if isinstance(wanted, str):
        return None
    chat: dict[str, Any] = msgspec.to_builtins(wanted)
    return None if chat["type"] == "text" else chat
