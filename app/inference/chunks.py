"""What a model server sends, tolerant of what it adds. Nothing here goes to a client as it is."""

from typing import Any

from msgspec import json

from app.kit.wire import Foreign


class FunctionPiece(Foreign, kw_only=True, frozen=True):
    """A part of a function call: the name first, then pieces of the arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(Foreign, kw_only=True, frozen=True):
    """A part of one tool call of several; `index` tells which."""

    index: int = 0
    id: str | None = None
    function: FunctionPiece | None = None


class Delta(Foreign, kw_only=True, frozen=True):
    """What a chunk adds to the message."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallPiece] | None = None


class Choice(Foreign, kw_only=True, frozen=True):
    """The one choice we ask for."""

    delta: Delta = Delta()
    finish_reason: str | None = None


class Usage(Foreign, kw_only=True, frozen=True):
    """Token counts as the model server reports them."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    total_tokens: int = 0


class Chunk(Foreign, kw_only=True, frozen=True):
    """One `data:` line of a streamed chat completion. `error` in it ends the stream."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


class ServedModel(Foreign, kw_only=True, frozen=True):
    """An entry of the model server's /v1/models. `max_model_len` is vLLM's."""

    id: str
    owned_by: str = ""
    created: int = 0
    max_model_len: int | None = None


class ServedModels(Foreign, kw_only=True, frozen=True):
    """The model server's /v1/models."""

    data: list[ServedModel] = []


class PromptTokens(Foreign, kw_only=True, frozen=True):
    """The answer of vLLM's /tokenize: how many tokens a chat takes, and each as its tokenizer writes it."""

    count: int
    token_strs: list[str] | None = None


decode_chunk = json.Decoder(Chunk).decode
decode_models = json.Decoder(ServedModels).decode
decode_tokens = json.Decoder(PromptTokens).decode
