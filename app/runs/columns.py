"""What a new run's row holds: the client's wishes over the assistant's settings. Pure."""

from typing import Any

from msgspec import Struct
from sqlalchemy import Row

from app.assistants.tools import ReasoningEffort, ToolResources
from app.kit.wire import to_json
from app.runs.schemas import CreateRun, CreateThreadAndRun, RunOptions, ShownTruncation


class RunInput(Struct, frozen=True, kw_only=True):
    """A run as a client asked for it, in either of the two ways."""

    options: RunOptions
    expires_after_s: int
    additional_instructions: str | None = None
    reasoning_effort: ReasoningEffort | None = None
    tool_resources: ToolResources | None = None


def input_of(body: CreateRun | CreateThreadAndRun, expires_after_s: int) -> RunInput:
    """Return what the two bodies have in common."""
    if isinstance(body, CreateRun):
        return RunInput(
            options=body,
            expires_after_s=expires_after_s,
            additional_instructions=body.additional_instructions,
            reasoning_effort=body.reasoning_effort,
        )
    return RunInput(options=body, expires_after_s=expires_after_s, tool_resources=body.tool_resources)


def run_columns(wanted: RunInput, assistant: Row[Any], at: int) -> dict[str, Any]:
    """Return a queued run's columns, but for its ids. What the client left out is the assistant's."""
    options = wanted.options
    truncation = options.truncation_strategy or ShownTruncation()
    own_format = to_json(options.response_format) if options.response_format is not None else None
    own_resources = to_json(wanted.tool_resources) if wanted.tool_resources is not None else None
    return {
        "assistant_id": assistant.id,
        "status": "queued",
        "fence": 1,
        "created_at": at,
        "expires_at": at + wanted.expires_after_s,
        "model": options.model or assistant.model,
        "instructions": instructions_of(wanted, assistant),
        "tools": assistant.tools if options.tools is None else to_json(options.tools),
        "tool_resources": own_resources or assistant.tool_resources,
        "metadata": to_json(options.metadata or {}),
        "temperature": assistant.temperature if options.temperature is None else options.temperature,
        "top_p": assistant.top_p if options.top_p is None else options.top_p,
        "max_prompt_tokens": options.max_prompt_tokens,
        "max_completion_tokens": options.max_completion_tokens,
        "truncation_strategy": to_json({"type": truncation.type, "last_messages": truncation.last_messages}),
        "tool_choice": to_json("auto" if options.tool_choice is None else options.tool_choice),
        "parallel_tool_calls": options.parallel_tool_calls is not False,
        "response_format": own_format or assistant.response_format,
        "reasoning_effort": wanted.reasoning_effort or assistant.reasoning_effort,
        "surface": "run",
        "whole_context": False,
        "last_position": None,
    }


def instructions_of(wanted: RunInput, assistant: Row[Any]) -> str:
    """Return the run's instructions: its own or the assistant's, then what it adds. Never null on the wire."""
    own = wanted.options.instructions
    parts = [assistant.instructions if own is None else own, wanted.additional_instructions]
    return "\n".join(part for part in parts if part)
