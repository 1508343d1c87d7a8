"""Runs and run steps on the wire."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from app.assistants.schemas import AssistantId, Instructions, Model
from app.assistants.tools import (
    ReasoningEffort,
    ResponseFormat,
    ShownToolResources,
    Tool,
    ToolName,
    ToolResources,
)
from app.engine.events import IncompleteReason, TokenUsage
from app.engine.lifecycle import Status
from app.inference.failures import RunErrorCode
from app.kit.wire import MAX_INTEGER, Answer, Body, Metadata, Temperature, TopP
from app.messages.schemas import CreateMessage
from app.threads.schemas import CreateThread

RunTools = Annotated[list[Tool], Meta(max_length=20)]
Budget = Annotated[int, Meta(ge=256, le=MAX_INTEGER)]


class TruncationStrategy(Body, kw_only=True, frozen=True):
    """Which of the thread's messages the model is shown."""

    type: Literal["auto", "last_messages"]
    last_messages: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None


class ChosenFunction(Body, kw_only=True, frozen=True):
    """A function by name."""

    name: ToolName


class FunctionChoice(Body, tag_field="type", tag="function", kw_only=True, frozen=True):
    """Makes the model call this function."""

    function: ChosenFunction


class CodeInterpreterChoice(Body, tag_field="type", tag="code_interpreter", kw_only=True, frozen=True):
    """Makes the model use the code interpreter."""


class FileSearchChoice(Body, tag_field="type", tag="file_search", kw_only=True, frozen=True):
    """Makes the model search files."""


ToolChoice = Literal["none", "auto", "required"] | FunctionChoice | CodeInterpreterChoice | FileSearchChoice


class RunOptions(Body, kw_only=True, frozen=True):
    """What both ways of starting a run take. What is not sent is the assistant's."""

    assistant_id: AssistantId | None = None
    model: Model | None = None
    instructions: Instructions | None = None
    tools: RunTools | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_prompt_tokens: Budget | None = None
    max_completion_tokens: Budget | None = None
    truncation_strategy: TruncationStrategy | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = None


class CreateRun(RunOptions, kw_only=True, frozen=True):
    """A new run over a thread. `assistant_id` may be left out only if the thread is bound to an assistant."""

    additional_instructions: Instructions | None = None
    additional_messages: list[CreateMessage] | None = None
    reasoning_effort: ReasoningEffort | None = None


class CreateThreadAndRun(RunOptions, kw_only=True, frozen=True):
    """A new thread and a run over it."""

    thread: CreateThread | None = None
    tool_resources: ToolResources | None = None


class UpdateRun(Body, kw_only=True, frozen=True):
    """Changes to a run: only its metadata."""

    metadata: Metadata | UnsetType | None = UNSET


class ToolOutput(Body, kw_only=True, frozen=True):
    """What came of a tool call."""

    tool_call_id: str | None = None
    output: str | None = None


class SubmitOutputs(Body, kw_only=True, frozen=True):
    """The outputs of every call that a run waits for."""

    tool_outputs: list[ToolOutput]
    stream: bool | None = None


class LastError(Answer, kw_only=True, frozen=True):
    """Why a run failed."""

    code: RunErrorCode
    message: str


class IncompleteDetails(Answer, kw_only=True, frozen=True):
    """Why a run ended early."""

    reason: IncompleteReason


class CalledFunction(Answer, kw_only=True, frozen=True):
    """A function call; the arguments are the text that the model wrote."""

    name: str
    arguments: str


class RequiredToolCall(Answer, kw_only=True, frozen=True):
    """A tool call that waits for its output."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class SubmitToolOutputs(Answer, kw_only=True, frozen=True):
    """The calls whose outputs the run waits for."""

    tool_calls: list[RequiredToolCall]


class RequiredAction(Answer, kw_only=True, frozen=True):
    """What a run in requires_action waits for."""

    type: Literal["submit_tool_outputs"] = "submit_tool_outputs"
    submit_tool_outputs: SubmitToolOutputs


class ShownTruncation(Answer, kw_only=True, frozen=True):
    """Which of the thread's messages the model is shown."""

    type: Literal["auto", "last_messages"] = "auto"
    last_messages: int | None = None


class Run(Answer, kw_only=True, frozen=True):
    """A run. `usage` is null until it ends, `expires_at` afterwards. That of a response has an empty `assistant_id`."""

    id: str
    object: Literal["thread.run"] = "thread.run"
    created_at: int
    thread_id: str
    assistant_id: str
    status: Status
    required_action: RequiredAction | None
    last_error: LastError | None
    expires_at: int | None
    started_at: int | None
    cancelled_at: int | None
    failed_at: int | None
    completed_at: int | None
    incomplete_details: IncompleteDetails | None
    model: str
    instructions: str
    tools: list[Tool]
    tool_resources: ShownToolResources | None
    metadata: dict[str, str]
    usage: TokenUsage | None
    temperature: float | None
    top_p: float | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    truncation_strategy: ShownTruncation
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    response_format: ResponseFormat
    reasoning_effort: ReasoningEffort | None


class MadeMessage(Answer, kw_only=True, frozen=True):
    """The message that a step made."""

    message_id: str


class MessageCreationDetails(Answer, tag_field="type", tag="message_creation", kw_only=True, frozen=True):
    """A step that makes a message."""

    message_creation: MadeMessage


class StepFunction(Answer, kw_only=True, frozen=True):
    """A function call and, once the client sent it, its output."""

    name: str
    arguments: str
    output: str | None


class StepFunctionCall(Answer, tag_field="type", tag="function", kw_only=True, frozen=True):
    """A function call of a step."""

    id: str
    function: StepFunction


class ToolCallsDetails(Answer, tag_field="type", tag="tool_calls", kw_only=True, frozen=True):
    """A step that calls tools."""

    tool_calls: list[StepFunctionCall]


class StepError(Answer, kw_only=True, frozen=True):
    """Why a step failed."""

    code: Literal["server_error", "rate_limit_exceeded"]
    message: str


class RunStep(Answer, kw_only=True, frozen=True):
    """A step of a run."""

    id: str
    object: Literal["thread.run.step"] = "thread.run.step"
    created_at: int
    assistant_id: str
    thread_id: str
    run_id: str
    type: Literal["message_creation", "tool_calls"]
    status: Literal["in_progress", "cancelled", "failed", "completed", "expired"]
    step_details: MessageCreationDetails | ToolCallsDetails
    last_error: StepError | None
    expired_at: int | None
    cancelled_at: int | None
    failed_at: int | None
    completed_at: int | None
    metadata: dict[str, str]
    usage: TokenUsage | None
