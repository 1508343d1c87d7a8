"""Stored chat completions on the wire, and from an answer and a row to it.

What a model server answers has fields that nobody here knows. They are kept, so at run time these are documents;
the Structs describe them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, UnsetType, json
from sqlalchemy import Row

from app.assistants.schemas import decode_metadata
from app.kit.wire import Answer, Body, Metadata

ECHOED = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "tools",
    "tool_choice",
    "response_format",
)
"""What the original shows of the request. It calls `user`, which it shows, too, `input_user`."""
NEVER_NULL = frozenset(
    {
        "system_fingerprint",
        "usage",
        "prompt_tokens_details",
        "completion_tokens_details",
        "tool_calls",
        "function_call",
        "annotations",
    }
)
"""Left out where they are not: model servers send null, OpenAI's schemas allow none."""

Json = Mapping[str, Any]


class Document(dict[str, Any]):
    """A JSON object in a list."""

    @property
    def id(self) -> str:
        """The object's id, which is also the cursor."""
        return str(self["id"])


class UpdateStoredCompletion(Body, kw_only=True, frozen=True):
    """Changes to a stored chat completion: only its metadata, which is replaced as a whole."""

    metadata: Metadata | None


class StoredCompletion(Answer, kw_only=True, frozen=True):
    """A stored chat completion: the answer as it was, with its metadata and what the request asked for."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | UnsetType = UNSET
    metadata: dict[str, str]
    request_id: str
    temperature: float | None
    top_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    tools: list[dict[str, Any]] | None
    tool_choice: str | dict[str, Any] | None
    response_format: dict[str, Any] | None
    input_user: str | None


class StoredCompletionMessage(Answer, kw_only=True, frozen=True):
    """A message that a stored chat completion answers. One that was sent in parts has them in `content_parts`."""

    id: str
    role: str
    content: str | None
    refusal: str | None
    name: str | None
    content_parts: list[dict[str, Any]] | None


class StoredCompletionDeleted(Answer, kw_only=True, frozen=True):
    """The answer to a deletion."""

    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: bool = True


decode_document = json.Decoder(dict[str, Any]).decode
decode_messages = json.Decoder(list[dict[str, Any]]).decode


def kept(request: Json, completion: Json, request_id: str) -> dict[str, Any]:
    """Return what is kept of an answer beside its id and metadata: null where the schemas want it and nowhere else."""
    asked = {name: request.get(name) for name in ECHOED}
    answer = _without_nulls(completion)
    if isinstance(usage := answer.get("usage"), dict):
        answer["usage"] = _without_nulls(usage)
    choices = [_choice(choice) for choice in completion["choices"]]
    return {**asked, "input_user": request.get("user"), "request_id": request_id, **answer, "choices": choices}


def _choice(choice: Json) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **_without_nulls(choice["message"])}
    logprobs = choice.get("logprobs")
    return {**choice, "message": message, "logprobs": logprobs and {"content": None, "refusal": None, **logprobs}}


def _without_nulls(fields: Json) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None or name not in NEVER_NULL}


def completion_of(row: Row[Any]) -> Document:
    """Return a completion as clients receive it."""
    return Document(decode_document(row.completion) | {"id": row.id, "metadata": decode_metadata(row.metadata)})


def messages_of(row: Row[Any]) -> Sequence[Document]:
    """Return the messages that a completion answers, in their order, each with the id that the original would give."""
    return [_message(f"{row.id}-{place}", sent) for place, sent in enumerate(decode_messages(row.messages))]


def _message(message_id: str, sent: Json) -> Document:
    content = sent.get("content")
    parts = content if isinstance(content, list) else None
    return Document(
        {
            "name": None,
            "refusal": None,
            **_without_nulls(sent),
            "id": message_id,
            "content": None if parts is not None else content,
            "content_parts": parts,
        }
    )
