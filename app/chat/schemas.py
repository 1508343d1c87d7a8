"""Chat completions, completions and embeddings on the wire: the fields that this server reads. The model server reads
the others, known or not: they are passed on as they were sent.
"""

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from app.kit.wire import Metadata

MOST_TOKENS = 10**9
Tokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]


def _anything(schema: dict[str, Any]) -> Meta:
    return Meta(extra_json_schema=schema)


Messages = Annotated[Raw, _anything({"type": "array", "minItems": 1, "items": {"type": "object"}})]
Text = Annotated[Raw, _anything({"type": ["string", "array"]})]


class StreamOptions(Struct, kw_only=True, frozen=True):
    """What a stream tells beside its text."""

    include_usage: bool | None = None


class Relayed(Struct, kw_only=True, frozen=True):
    """What every relayed request has. Fields that are not listed are passed on."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None

    @property
    def answer_tokens(self) -> int | None:
        """Return how long the answer may be, None when it is not said."""
        return self.max_tokens


class CreateChatCompletion(Relayed, kw_only=True, frozen=True):
    """A chat completion. `thread_id` gives it the memory of a thread; `store` keeps it."""

    messages: Messages
    max_completion_tokens: Tokens | None = None
    thread_id: str | None = None
    store: bool | None = None
    metadata: Metadata | None = None

    @property
    def answer_tokens(self) -> int | None:
        """Return how long the answer may be, None when it is not said."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CreateCompletion(Relayed, kw_only=True, frozen=True):
    """A completion of a text: the form before chats."""

    prompt: Text


class CreateEmbedding(Relayed, kw_only=True, frozen=True):
    """Embeddings of one text or of several. Answers are numbers or base64, as `encoding_format` asks."""

    input: Text


class ChatCompletion(Struct, kw_only=True, frozen=True):
    """The model server's answer, as it came."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class Completion(Struct, kw_only=True, frozen=True):
    """The model server's answer, as it came."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class Embeddings(Struct, kw_only=True, frozen=True):
    """The model server's answer, as it came."""

    object: str
    data: list[dict[str, Any]]
    model: str
    usage: dict[str, Any] | None = None
