"""From rows to responses as clients see them. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import json
from sqlalchemy import Row

from app.assistants.schemas import decode_metadata
from app.items.names import conversation_of
from app.items.schemas import Item
from app.responses.columns import THREAD
from app.responses.progress import OVERDUE, TOO_LONG, error_of
from app.responses.schemas import Asked, Response, ResponseConversation, ResponseStatus, usage_of
from app.runs.rows import decode_error, decode_usage

decode_asked = json.Decoder(Asked).decode


def response_of(run: Row[Any], row: Row[Any], output: Sequence[Item]) -> Response:
    """Return a response as clients receive it, from its run's row, its own, and its output."""
    asked = decode_asked(row.settings)
    error = OVERDUE if run.status == "expired" else decode_error(run.last_error) if run.last_error else None
    return Response(
        id=row.id,
        created_at=row.created_at,
        status=_status(run.status, background=row.background),
        background=row.background,
        completed_at=run.ended_at if run.status == "completed" else None,
        error=error_of(error) if error is not None else None,
        incomplete_details=TOO_LONG if run.incomplete_reason else None,
        instructions=run.instructions or None,
        max_output_tokens=run.max_completion_tokens,
        max_tool_calls=asked.max_tool_calls,
        model=run.model,
        output=list(output),
        parallel_tool_calls=run.parallel_tool_calls,
        previous_response_id=row.previous_response_id,
        conversation=_conversation(row.thread_id),
        prompt_cache_key=asked.prompt_cache_key,
        prompt_cache_retention=asked.prompt_cache_retention,
        reasoning=asked.reasoning,
        safety_identifier=asked.safety_identifier,
        service_tier=asked.service_tier,
        store=asked.store,
        temperature=run.temperature,
        text=asked.text,
        tool_choice=asked.tool_choice,
        tools=asked.tools,
        top_logprobs=0,
        top_p=run.top_p,
        truncation=asked.truncation,
        usage=usage_of(decode_usage(run.usage)) if run.usage else None,
        user=asked.user,
        metadata=decode_metadata(row.metadata),
    )


def _status(status: str, *, background: bool) -> ResponseStatus:
    match status:
        case "queued":
            return "queued" if background else "in_progress"
        case "cancelling":
            return "in_progress"
        case "expired":
            return "failed"
        case _:
            return status  # type: ignore[return-value]  # the others have the same names


def _conversation(thread_id: str) -> ResponseConversation | None:
    if not thread_id.startswith(THREAD):
        return None
    return ResponseConversation(id=conversation_of(thread_id))
