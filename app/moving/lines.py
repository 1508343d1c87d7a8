"""The lines that are moved, as JSON Lines: OpenAI's own objects, and what a thread holds beside them. Pure.

Lines from elsewhere may lack what OpenAI left out, and may have more than is known here. `position` is a place in the
thread: where it is missing, a line stands after the one before it.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from app.assistants.tools import NewToolResources, ReasoningEffort, ResponseFormat, Tool
from app.engine.events import IncompleteReason, MessageCut, TokenUsage
from app.inference.failures import RunErrorCode
from app.kit.wire import MAX_INTEGER, STORABLE, Foreign, Metadata
from app.messages.content import Part
from app.messages.schemas import Attachment
from app.runs.schemas import MessageCreationDetails, ShownTruncation, ToolCallsDetails, ToolChoice

LARGEST = MAX_INTEGER
"""Of moments, in seconds since 1970, and of places: what a cursor of any list can name on either engine."""


def id_of(prefixes: str) -> str:
    """Return the pattern of an id that begins with one of some prefixes, ours or OpenAI's."""
    return f"^({prefixes})_[A-Za-z0-9_-]{{1,56}}$"


Storable = Annotated[str, Meta(pattern=STORABLE)]
Moment = Annotated[int, Meta(ge=0, le=LARGEST)]
Position = Annotated[int, Meta(ge=1, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
ProjectId = Annotated[str, Meta(pattern=id_of("proj"))]
VectorStoreId = Annotated[str, Meta(pattern=id_of("vs"))]
AssistantId = Annotated[str, Meta(pattern=id_of("asst"))]
ThreadId = Annotated[str, Meta(pattern=id_of("thread|chain"))]
MessageId = Annotated[str, Meta(pattern=id_of("msg"))]
ItemId = Annotated[str, Meta(pattern=id_of("fc|fco|rs|msg"))]
RunId = Annotated[str, Meta(pattern=id_of("run"))]
StepId = Annotated[str, Meta(pattern=id_of("step"))]
ResponseId = Annotated[str, Meta(pattern=id_of("resp"))]
Reference = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{0,64}$")]
"""An id of what need not be there."""
Ended = Literal["cancelled", "failed", "completed", "incomplete", "expired"]
ItemType = Literal["message", "function_call", "function_call_output", "reasoning"]


class ProjectLine(Foreign, tag_field="object", tag="project", kw_only=True, frozen=True):
    """A project: what comes after it, up to the next one, belongs to it. The default one is there in any case."""

    id: ProjectId
    created_at: Moment | UnsetType = UNSET
    name: Annotated[str, Meta(min_length=1, max_length=256, pattern=STORABLE)]


class VectorStoreLine(Foreign, tag_field="object", tag="vector_store", kw_only=True, frozen=True):
    """The name of a vector store."""

    id: VectorStoreId
    created_at: Moment
    name: Storable | None = None
    metadata: Metadata | None = None


class AssistantLine(Foreign, tag_field="object", tag="assistant", kw_only=True, frozen=True):
    """An assistant."""

    id: AssistantId
    created_at: Moment
    name: Storable | None = None
    description: Storable | None = None
    model: Storable
    instructions: Storable | None = None
    tools: list[Tool] = []
    tool_resources: NewToolResources | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: ReasoningEffort | None = None


class CutDetails(Foreign, kw_only=True, frozen=True):
    """Why a message ended early."""

    reason: MessageCut


class MessageLine(Foreign, tag_field="object", tag="thread.message", kw_only=True, frozen=True):
    """A message of a thread."""

    id: MessageId
    created_at: Moment
    thread_id: ThreadId | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    status: Literal["in_progress", "incomplete", "completed"] | None = None
    incomplete_details: CutDetails | None = None
    completed_at: Moment | None = None
    incomplete_at: Moment | None = None
    role: Literal["user", "assistant"]
    content: list[Part] | str
    assistant_id: Reference | None = None
    run_id: Reference | None = None
    attachments: list[Attachment] | None = None
    metadata: Metadata | None = None


class ListLine(Foreign, tag_field="object", tag="list", kw_only=True, frozen=True):
    """A page of messages as the API answered it."""

    data: list[MessageLine]


class ThreadLine(Foreign, tag_field="object", tag="thread", kw_only=True, frozen=True):
    """A thread, with its messages or without: then they are lines of their own.

    `last_position` is the place that was given last; `parent_id` and `parent_position` say from where it went on.
    """

    id: ThreadId
    created_at: Moment
    metadata: Metadata | None = None
    tool_resources: NewToolResources | None = None
    assistant_id: AssistantId | UnsetType | None = UNSET
    last_position: Count | UnsetType = UNSET
    parent_id: ThreadId | UnsetType | None = UNSET
    parent_position: Count | UnsetType | None = UNSET
    messages: list[MessageLine | ListLine] | ListLine | UnsetType | None = UNSET


class ItemLine(Foreign, tag_field="object", tag="thread.item", kw_only=True, frozen=True):
    """What a conversation holds beside messages and the model's calls. `body` is what clients see, without its id."""

    id: ItemId
    created_at: Moment
    thread_id: ThreadId
    position: Position | UnsetType = UNSET
    type: ItemType
    call_id: Storable | None = None
    body: dict[str, Any]
    run_id: Reference | None = None


class ErrorDetails(Foreign, kw_only=True, frozen=True):
    """Why a run or a step failed."""

    code: RunErrorCode
    message: Storable


class RunDetails(Foreign, kw_only=True, frozen=True):
    """Why a run ended early."""

    reason: IncompleteReason


class RunLine(Foreign, tag_field="object", tag="thread.run", kw_only=True, frozen=True):
    """A run that is over. `surface` and what follows is there for what a client of Responses began."""

    id: RunId
    created_at: Moment
    thread_id: ThreadId
    assistant_id: Reference | None = None
    status: Ended
    last_error: ErrorDetails | None = None
    incomplete_details: RunDetails | None = None
    expires_at: Moment | None = None
    started_at: Moment | None = None
    ended_at: Moment | UnsetType = UNSET
    cancelled_at: Moment | UnsetType | None = UNSET
    failed_at: Moment | UnsetType | None = UNSET
    completed_at: Moment | UnsetType | None = UNSET
    model: Storable
    instructions: Storable | None = None
    tools: list[Tool] = []
    tool_resources: NewToolResources | None = None
    metadata: Metadata | None = None
    usage: TokenUsage | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_prompt_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    truncation_strategy: ShownTruncation | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: ReasoningEffort | None = None
    surface: Literal["run", "response"] | UnsetType = UNSET
    whole_context: bool | UnsetType = UNSET
    last_position: Count | UnsetType | None = UNSET


class StepLine(Foreign, tag_field="object", tag="thread.run.step", kw_only=True, frozen=True):
    """A step of a run that is over. Only one with a `position` is shown to a model again."""

    id: StepId
    created_at: Moment
    thread_id: ThreadId
    run_id: RunId
    assistant_id: Reference | None = None
    position: Position | UnsetType | None = UNSET
    type: Literal["message_creation", "tool_calls"]
    status: Literal["cancelled", "failed", "completed", "expired"]
    step_details: MessageCreationDetails | ToolCallsDetails
    last_error: ErrorDetails | None = None
    ended_at: Moment | UnsetType | None = UNSET
    expired_at: Moment | UnsetType | None = UNSET
    cancelled_at: Moment | UnsetType | None = UNSET
    failed_at: Moment | UnsetType | None = UNSET
    completed_at: Moment | UnsetType | None = UNSET
    metadata: Metadata | None = None
    usage: TokenUsage | None = None


class ResponseLine(Foreign, tag_field="object", tag="thread.response", kw_only=True, frozen=True):
    """What of a response its run does not hold: its input is `input_count` items from `first_position` on."""

    id: ResponseId
    created_at: Moment
    thread_id: ThreadId
    run_id: RunId
    previous_response_id: ResponseId | None = None
    background: bool = False
    first_position: Position
    input_count: Count
    metadata: Metadata | None = None
    settings: dict[str, Any]


OfThread = MessageLine | ItemLine | RunLine | StepLine | ResponseLine
Line = ProjectLine | VectorStoreLine | AssistantLine | ThreadLine | OfThread
