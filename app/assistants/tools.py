"""Tools, their resources and answer formats, as clients send them. Assistants, threads and runs share these."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from app.kit.wire import Answer, Body, Metadata

ToolName = Annotated[str, Meta(max_length=64, min_length=1, pattern="^[a-zA-Z0-9_-]+$")]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class CodeInterpreterTool(Body, tag_field="type", tag="code_interpreter", kw_only=True, frozen=True):
    """Runs code in a sandbox."""


class RankingOptions(Body, kw_only=True, frozen=True, omit_defaults=True):
    """How results of a file search are ranked."""

    score_threshold: Annotated[float, Meta(ge=0, le=1)]
    ranker: Literal["auto", "default_2024_08_21"] | None = None


class FileSearchOptions(Body, kw_only=True, frozen=True, omit_defaults=True):
    """Overrides for the file search tool."""

    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None


class FileSearchTool(Body, tag_field="type", tag="file_search", kw_only=True, frozen=True, omit_defaults=True):
    """Searches the vector stores of the assistant or thread."""

    file_search: FileSearchOptions | None = None


class FunctionDefinition(Body, kw_only=True, frozen=True, omit_defaults=True):
    """A function that the client carries out."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Body, tag_field="type", tag="function", kw_only=True, frozen=True):
    """Asks the client to carry out a function."""

    function: FunctionDefinition


Tool = CodeInterpreterTool | FileSearchTool | FunctionTool


class TextFormat(Body, tag_field="type", tag="text", kw_only=True, frozen=True):
    """Plain text."""


class JsonObjectFormat(Body, tag_field="type", tag="json_object", kw_only=True, frozen=True):
    """Any JSON object."""


class JsonSchema(Body, kw_only=True, frozen=True, omit_defaults=True):
    """A named JSON Schema."""

    name: ToolName
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class JsonSchemaFormat(Body, tag_field="type", tag="json_schema", kw_only=True, frozen=True):
    """JSON that fits a schema."""

    json_schema: JsonSchema


ResponseFormat = Literal["auto"] | TextFormat | JsonObjectFormat | JsonSchemaFormat


class CodeInterpreterResources(Body, kw_only=True, frozen=True):
    """Files that the code interpreter can read."""

    file_ids: Annotated[list[str], Meta(max_length=20)] = []


class FileSearchResources(Body, kw_only=True, frozen=True, omit_defaults=True):
    """The vector store that file search looks through."""

    vector_store_ids: Annotated[list[str], Meta(max_length=1)] | None = None


class AutoChunking(Body, tag_field="type", tag="auto", kw_only=True, frozen=True):
    """Chunks of 800 tokens that overlap by 400."""


class StaticChunkSize(Body, kw_only=True, frozen=True):
    """Chunk size and overlap, in tokens."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Meta(ge=0, le=2048)]


class StaticChunking(Body, tag_field="type", tag="static", kw_only=True, frozen=True):
    """Chunks of a stated size."""

    static: StaticChunkSize


class InlineVectorStore(Body, kw_only=True, frozen=True, omit_defaults=True):
    """A vector store to be made together with the object that uses it."""

    file_ids: Annotated[list[str], Meta(max_length=10_000)] | None = None
    chunking_strategy: AutoChunking | StaticChunking | None = None
    metadata: Metadata | None = None


class NewFileSearchResources(Body, kw_only=True, frozen=True, omit_defaults=True):
    """A vector store by id, or one to be made."""

    vector_store_ids: Annotated[list[str], Meta(max_length=1)] | None = None
    vector_stores: Annotated[list[InlineVectorStore], Meta(max_length=1)] | None = None

    def __post_init__(self) -> None:
        if self.vector_store_ids and self.vector_stores:
            raise ValueError("Only one of 'vector_store_ids' or 'vector_stores' may be given")


class ToolResources(Body, kw_only=True, frozen=True, omit_defaults=True):
    """What the tools may use."""

    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearchResources | None = None


class NewToolResources(Body, kw_only=True, frozen=True, omit_defaults=True):
    """What the tools may use, when the object is made."""

    code_interpreter: CodeInterpreterResources | None = None
    file_search: NewFileSearchResources | None = None


class ShownCodeInterpreterResources(Answer, kw_only=True, frozen=True):
    """Files that the code interpreter can read."""

    file_ids: list[str]


class ShownFileSearchResources(Answer, kw_only=True, frozen=True):
    """The vector store that file search looks through."""

    vector_store_ids: list[str]


class ShownToolResources(Answer, kw_only=True, frozen=True, omit_defaults=True):
    """What the tools may use, as answers show it."""

    code_interpreter: ShownCodeInterpreterResources | None = None
    file_search: ShownFileSearchResources | None = None


def shown_resources(stored: NewToolResources | None) -> ShownToolResources | None:
    """Return stored resources as answers show them; a store that waits to be made has no id yet."""
    if stored is None:
        return None
    code, search = stored.code_interpreter, stored.file_search
    return ShownToolResources(
        code_interpreter=ShownCodeInterpreterResources(file_ids=code.file_ids) if code is not None else None,
        file_search=ShownFileSearchResources(vector_store_ids=search.vector_store_ids or [])
        if search is not None
        else None,
    )
