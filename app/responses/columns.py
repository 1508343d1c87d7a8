"""What a new response's rows hold: what was asked, as the engine takes it. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import asdict

from app.assistants.tools import (
    FunctionDefinition,
    FunctionTool,
    JsonSchema,
    JsonSchemaFormat,
    ResponseFormat,
    TextFormat,
)
from app.items.compiling import NewItem
from app.kit.ids import twin
from app.kit.wire import to_json
from app.responses.asking import (
    AllowedTools,
    AnswerFormat,
    NamedFunction,
    ReasoningOptions,
    ResponseFunction,
    SchemaFormat,
    TextOptions,
)
from app.responses.schemas import (
    Asked,
    CreateResponse,
)
from app.runs.schemas import ChosenFunction, FunctionChoice, ShownTruncation, ToolChoice

RESPONSE, RUN = "resp", "run"
"""What ids begin with. A response is a run with the same ending."""
THREAD = "thread_"
"""What the ids of threads begin with that are conversations; others are chains of responses."""
USUAL = 1.0


class NewResponse(Struct, frozen=True, kw_only=True):
    """A response to be accepted: the columns of its run, what it is told again, and its input."""

    run: dict[str, Any]
    settings: str
    items: Sequence[NewItem]
    conversation: str | None = None
    previous_response_id: str | None = None
    background: bool = False


def asked_of(body: CreateResponse) -> Asked:
    """Return what of a request clients are told again, with what holds where nothing was asked."""
    text = body.text or TextOptions()
    return Asked(
        store=body.store is not False,
        tools=body.tools or [],
        tool_choice="auto" if body.tool_choice is None else body.tool_choice,
        text=TextOptions(format=text.format or TextFormat(), verbosity=text.verbosity or "medium"),
        reasoning=body.reasoning or ReasoningOptions(),
        truncation=body.truncation or "disabled",
        service_tier=body.service_tier if body.service_tier not in (None, "auto") else "default",
        max_tool_calls=body.max_tool_calls,
        prompt_cache_key=body.prompt_cache_key,
        prompt_cache_retention=body.prompt_cache_retention,
        safety_identifier=body.safety_identifier,
        user=UNSET if body.user is None else body.user,
    )


def run_columns(body: CreateResponse, asked: Asked, model: str, at: int, expires_after_s: int) -> dict[str, Any]:
    """Return the columns of a response's run, queued, but for its ids."""
    return {
        "assistant_id": None,
        "status": "queued",
        "fence": 1,
        "created_at": at,
        "expires_at": at + expires_after_s,
        "model": model,
        "instructions": body.instructions or "",
        "tools": to_json(offered(asked)),
        "tool_resources": None,
        "metadata": to_json(body.metadata or {}),
        "temperature": USUAL if body.temperature is None else body.temperature,
        "top_p": USUAL if body.top_p is None else body.top_p,
        "max_prompt_tokens": None,
        "max_completion_tokens": body.max_output_tokens,
        "truncation_strategy": to_json(ShownTruncation()),
        "tool_choice": to_json(choice_of(asked)),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "response_format": to_json(format_of(asked.text.format)),
        "reasoning_effort": asked.reasoning.effort,
        "surface": "response",
        "whole_context": asked.truncation != "auto",
        "last_position": None,
    }


def response_columns(new: NewResponse, run_id: str, project_id: str, thread_id: str, at: int) -> dict[str, Any]:
    """Return the columns of a response's own row, but for where its input stands."""
    return {
        "id": twin(run_id, RESPONSE),
        "project_id": project_id,
        "created_at": at,
        "run_id": run_id,
        "thread_id": thread_id,
        "previous_response_id": new.previous_response_id,
        "background": new.background,
        "metadata": new.run["metadata"],
        "settings": new.settings,
    }


def offered(asked: Asked) -> list[FunctionTool]:
    """Return the functions that the model may call, as runs have them."""
    allowed = {tool.name for tool in asked.tool_choice.tools} if isinstance(asked.tool_choice, AllowedTools) else None
    return [_tool(tool) for tool in asked.tools if allowed is None or tool.name in allowed]


def _tool(tool: ResponseFunction) -> FunctionTool:
    return FunctionTool(function=FunctionDefinition(**asdict(tool)))


def choice_of(asked: Asked) -> ToolChoice:
    """Return how the model is to choose among the functions, as runs have it."""
    match asked.tool_choice:
        case NamedFunction(name=name):
            return FunctionChoice(function=ChosenFunction(name=name))
        case AllowedTools(mode=mode):
            return mode
        case plain:
            return plain


def format_of(wanted: AnswerFormat | None) -> ResponseFormat:
    """Return the form of the answer, as runs have it."""
    if isinstance(wanted, SchemaFormat):
        description = wanted.description or None
        return JsonSchemaFormat(
            json_schema=JsonSchema(
                name=wanted.name, description=description, schema=wanted.schema, strict=wanted.strict
            )
        )
    return wanted or TextFormat()
