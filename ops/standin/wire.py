"""The requests of the OpenAI wire as the stand-in reads them. Unknown fields are let through.

Nothing here knows what is answered.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

Schema = dict[str, Any]


class FunctionDefinition(Struct):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Schema | None = None


class Tool(Struct):
    """A tool on offer; vLLM knows functions only."""

    function: FunctionDefinition
    type: Literal["function"] = "function"


class CalledFunction(Struct):
    """The function of an earlier tool call."""

    name: str = ""
    arguments: str = ""


class PastToolCall(Struct):
    """A tool call in the history."""

    function: CalledFunction
    id: str = ""


class Message(Struct):
    """One message of a chat; any role is taken."""

    role: str
    content: str | list[Any] | None = None
    tool_calls: list[PastToolCall] | None = None
    tool_call_id: str | None = None


class JsonSchemaFormat(Struct):
    """The schema an answer must follow."""

    name: str = ""
    schema: Schema | None = None


class ResponseFormat(Struct):
    """The form an answer must take."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None


class SamplingRequest(Struct, kw_only=True):
    """What chat and text completions have in common."""

    model: str | None = None
    max_tokens: int | None = None
    n: int | None = 1
    stop: str | list[str] | None = None
    include_stop_str_in_output: bool = False
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None

    @property
    def choices(self) -> int:
        """Count the choices asked for."""
        return 1 if self.n is None else self.n

    @property
    def stops(self) -> list[str]:
        """List the stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def wants_usage(self) -> bool:
        """Say whether the stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.get("include_usage"))

    @property
    def wants_running_usage(self) -> bool:
        """Say whether every chunk carries usage."""
        return self.wants_usage and bool((self.stream_options or {}).get("continuous_usage_stats"))


class ChatRequest(SamplingRequest, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Any | UnsetType = UNSET
    parallel_tool_calls: bool | None = True

    @property
    def output_limit(self) -> tuple[str, int | None]:
        """Name the output limit that counts, and give it."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return "max_tokens", self.max_tokens

    @property
    def effective_tool_choice(self) -> Any:
        """Give the tool choice with vLLM's default: auto where tools are sent."""
        if self.tool_choice is UNSET:
            return "auto" if self.tools else "none"
        return self.tool_choice


class CompletionRequest(SamplingRequest, kw_only=True):
    """POST /v1/completions; a prompt is text or token ids, one or several."""

    prompt: str | list[str | int | list[int]] | None = None
    max_tokens: int | None = 16
    echo: bool | None = False
    logprobs: int | None = None


class EmbeddingRequest(Struct, kw_only=True):
    """POST /v1/embeddings."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class TokenizeRequest(Struct, kw_only=True):
    """POST /tokenize, of a prompt or of a chat."""

    prompt: str | None = None
    messages: list[Message] | None = None
    model: str | None = None
    tools: list[Tool] | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool | None = False


def read_text(content: str | list[Any] | None) -> str:
    """Join the text of a message's content; parts are joined by a newline, as vLLM's templates do."""
    if isinstance(content, str):
        return content
    return "\n".join(map(_read_part, content or []))


def _read_part(part: Any) -> str:
    if isinstance(part, dict):
        return str(part.get("text") or part.get("refusal") or "")
    return str(part)


def read_prompt_text(message: Message) -> str:
    """Give all that a message puts into the prompt: its text and the calls it made."""
    text = read_text(message.content)
    for call in message.tool_calls or []:
        text += f"\n{call.function.name}{call.function.arguments}"
    return text


def write_tools(tools: list[Tool] | None) -> str:
    """Write the tools as the JSON that is counted into the prompt."""
    return msgspec.json.encode(tools).decode() if tools else ""
