"""What the original sent beyond what its schemas require: openai_wire.md 2.1-2.4 and 5, as JSON Schema data.

Extra keys are always allowed. No code that checks lives here; stream events are in events.py, headers and
errors in envelope.py.
"""

from dataclasses import dataclass

from .convert import NULL, Schema
from .shapes import MAYBE_TIMESTAMP, METADATA, TIMESTAMP, id_of, shape, when

# The path parameter that an object's own id, or a key of the same name, must repeat.
ID_PARAMS = {
    "assistant": "assistant_id",
    "thread": "thread_id",
    "thread.message": "message_id",
    "thread.run": "run_id",
    "thread.run.step": "step_id",
    "response": "response_id",
    "response.item": "item_id",
    "conversation": "conversation_id",
    "conversation.item": "item_id",
    "chat.completion": "completion_id",
    "chat.completion.message": "message_id",
}
USAGE_KEYS = ("prompt_tokens", "completion_tokens", "total_tokens")
USAGE: Schema = {"type": ["object", "null"], "required": list(USAGE_KEYS)}
TEXT_PART: Schema = {
    "if": {"properties": {"type": {"const": "text"}}},
    "then": shape(
        "text",
        {"text": shape("value annotations", {"value": {"type": "string"}, "annotations": {"type": "array"}})},
    ),
}

# That of a response is no assistant's: the schema allows no null.
ASSISTANT_OF_RUN: Schema = {"anyOf": [id_of("assistant"), {"const": ""}]}

ASSISTANT = shape(
    "id object created_at name description model instructions tools metadata "
    "tool_resources temperature top_p response_format",
    {
        "id": id_of("assistant"),
        "object": {"const": "assistant"},
        "created_at": TIMESTAMP,
        "metadata": METADATA,
    },
)

THREAD = shape(
    "id object created_at tool_resources metadata",
    {"id": id_of("thread"), "object": {"const": "thread"}, "created_at": TIMESTAMP, "metadata": METADATA},
)

MESSAGE = shape(
    "id object created_at thread_id status incomplete_details completed_at incomplete_at role content "
    "assistant_id run_id attachments metadata",
    {
        "id": id_of("thread.message"),
        "object": {"const": "thread.message"},
        "created_at": TIMESTAMP,
        "thread_id": id_of("thread"),
        "completed_at": MAYBE_TIMESTAMP,
        "incomplete_at": MAYBE_TIMESTAMP,
        "content": {"type": "array", "items": TEXT_PART},
        "assistant_id": id_of("assistant", nullable=True),
        "run_id": id_of("thread.run", nullable=True),
        "metadata": METADATA,
    },
    [
        when({"status": "in_progress"}, null="completed_at incomplete_at incomplete_details"),
        when({"status": "completed"}, null="incomplete_at incomplete_details"),
        when({"status": "incomplete"}, filled="incomplete_at incomplete_details", null="completed_at"),
        # What a client wrote was never in progress: only a run's own message must say when it was done.
        {
            "if": {"properties": {"run_id": {"type": "string"}}},
            "then": when({"status": "completed"}, filled="completed_at"),
        },
    ],
)

UNFINISHED = "last_error completed_at failed_at cancelled_at incomplete_details usage"
RUN = shape(
    "id object created_at thread_id assistant_id status required_action last_error expires_at started_at "
    "cancelled_at failed_at completed_at incomplete_details model instructions tools metadata usage "
    "max_prompt_tokens max_completion_tokens truncation_strategy tool_choice parallel_tool_calls "
    "response_format",
    {
        "id": id_of("thread.run"),
        "object": {"const": "thread.run"},
        "created_at": TIMESTAMP,
        "thread_id": id_of("thread"),
        "assistant_id": ASSISTANT_OF_RUN,
        "instructions": {"type": "string"},
        "usage": USAGE,
        "metadata": METADATA,
        **dict.fromkeys(["expires_at", "started_at", "cancelled_at", "failed_at", "completed_at"], MAYBE_TIMESTAMP),
    },
    [
        when({"status": "queued"}, filled="expires_at", null=f"required_action {UNFINISHED}"),
        when({"status": "in_progress"}, filled="expires_at started_at", null=f"required_action {UNFINISHED}"),
        when({"status": "requires_action"}, filled="expires_at started_at required_action", null=UNFINISHED),
        when({"status": "cancelling"}, null=f"required_action {UNFINISHED}"),
        when(
            {"status": "completed"},
            filled="started_at completed_at usage",
            null="expires_at required_action last_error failed_at cancelled_at incomplete_details",
        ),
        when({"status": "failed"}, filled="failed_at last_error", null="required_action completed_at"),
        when({"status": "cancelled"}, filled="cancelled_at", null="required_action completed_at failed_at"),
        when({"status": "incomplete"}, filled="incomplete_details", null="required_action"),
        when({"status": "expired"}, null="required_action completed_at"),
    ],
)

STEP = shape(
    "id object created_at assistant_id thread_id run_id type status step_details last_error expired_at "
    "cancelled_at failed_at completed_at metadata usage",
    {
        "id": id_of("thread.run.step"),
        "object": {"const": "thread.run.step"},
        "created_at": TIMESTAMP,
        "assistant_id": ASSISTANT_OF_RUN,
        "thread_id": id_of("thread"),
        "run_id": id_of("thread.run"),
        "step_details": {
            "properties": {"message_creation": shape("message_id", {"message_id": id_of("thread.message")})}
        },
        "usage": USAGE,
        "metadata": METADATA,
        **dict.fromkeys(["expired_at", "cancelled_at", "failed_at", "completed_at"], MAYBE_TIMESTAMP),
    },
    [
        when(
            {"status": "in_progress"},
            null="last_error expired_at cancelled_at failed_at completed_at usage",
        ),
        when({"status": "completed"}, filled="completed_at usage", null="last_error failed_at cancelled_at"),
        when({"status": "failed"}, filled="failed_at last_error", null="completed_at"),
        when({"status": "cancelled"}, filled="cancelled_at", null="completed_at"),
        when({"status": "expired"}, filled="expired_at", null="completed_at"),
        *(
            {
                "if": {"properties": {"type": {"const": kind}}},
                "then": {"properties": {"step_details": {"properties": {"type": {"const": kind}}}}},
            }
            for kind in ("message_creation", "tool_calls")
        ),
    ],
)

OBJECTS = {
    "assistant": ASSISTANT,
    "thread": THREAD,
    "thread.message": MESSAGE,
    "thread.run": RUN,
    "thread.run.step": STEP,
}

RESPONSE = shape(
    "id object created_at status background completed_at error incomplete_details instructions max_output_tokens "
    "max_tool_calls model output parallel_tool_calls previous_response_id conversation prompt_cache_key reasoning "
    "safety_identifier service_tier store temperature text tool_choice tools top_logprobs top_p truncation usage "
    "metadata",
    {
        "id": id_of("response"),
        "object": {"const": "response"},
        "created_at": TIMESTAMP,
        "completed_at": MAYBE_TIMESTAMP,
        "metadata": {**METADATA, "type": "object"},
    },
    [
        when({"status": "completed"}, filled="completed_at usage", null="error incomplete_details"),
        when({"status": "incomplete"}, filled="incomplete_details usage", null="error completed_at"),
        when({"status": "failed"}, filled="error usage", null="incomplete_details completed_at"),
        when({"status": "cancelled"}, filled="usage", null="error incomplete_details completed_at"),
        when({"status": "queued"}, null="error incomplete_details completed_at usage"),
        when({"status": "in_progress"}, null="error incomplete_details completed_at usage"),
    ],
)

CONVERSATION = shape(
    "id object created_at metadata",
    {
        "id": id_of("conversation"),
        "object": {"const": "conversation"},
        "created_at": TIMESTAMP,
        "metadata": {**METADATA, "type": "object"},
    },
)
ITEM = shape("id type status", {"id": id_of("conversation.item")})

COMPLETION_ID: Schema = {"type": "string", "pattern": "^chatcmpl-[A-Za-z0-9_-]+$"}
STORED = shape(
    "id object created model choices metadata request_id tool_choice seed top_p temperature presence_penalty "
    "frequency_penalty input_user tools response_format",
    {
        "id": COMPLETION_ID,
        "created": TIMESTAMP,
        "metadata": {**METADATA, "type": "object"},
        "request_id": {"type": "string"},
    },
)
STORED_MESSAGE = shape(
    "id role content refusal name content_parts",
    {"id": {"type": "string", "pattern": "^chatcmpl-[A-Za-z0-9_-]+-[0-9]+$"}},
    [{"anyOf": [{"properties": {key: NULL}} for key in ("content", "content_parts")]}],
)


def page_of(items: Schema) -> Schema:
    """Demand the list envelope around objects of one kind."""
    return shape(
        "object data first_id last_id has_more",
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": items},
            "has_more": {"type": "boolean"},
        },
    )


def deletion_of(kind: str) -> Schema:
    """Demand the answer to a delete of one kind."""
    return shape(
        "id object deleted",
        {"id": id_of(kind), "object": {"const": f"{kind}.deleted"}, "deleted": {"const": True}},
    )


@dataclass(frozen=True)
class AnswerRule:
    """What holds for an answer beside its official schema; `kind` is the object it is or lists."""

    kind: str
    table: Schema
    is_page: bool = False
    order: str = "desc"


def _answer_rules(kind: str, schema: str, page: str | None, deletion: str | None) -> dict[str, AnswerRule]:
    rules = {schema: AnswerRule(kind, OBJECTS[kind])}
    if page:
        rules[page] = AnswerRule(kind, page_of(OBJECTS[kind]), is_page=True)
    if deletion:
        rules[deletion] = AnswerRule(kind, deletion_of(kind))
    return rules


# By the operation, or else the name of the official schema that it answers with.
ANSWERS = {
    **_answer_rules("assistant", "AssistantObject", "ListAssistantsResponse", "DeleteAssistantResponse"),
    **_answer_rules("thread", "ThreadObject", "ListThreadsResponse", "DeleteThreadResponse"),
    **_answer_rules("thread.message", "MessageObject", "ListMessagesResponse", "DeleteMessageResponse"),
    **_answer_rules("thread.run", "RunObject", "ListRunsResponse", None),
    **_answer_rules("thread.run.step", "RunStepObject", "ListRunStepsResponse", None),
    "Response": AnswerRule("response", RESPONSE),
    "ResponseList": AnswerRule("response", page_of(RESPONSE), is_page=True),
    "ResponseItemList": AnswerRule("response.item", page_of(ITEM), is_page=True),
    "DELETE /responses/{response_id}": AnswerRule(
        "response",
        shape(
            "id object deleted",
            {"id": id_of("response"), "object": {"const": "response"}, "deleted": {"const": True}},
        ),
    ),
    "ConversationResource": AnswerRule("conversation", CONVERSATION),
    "DeletedConversationResource": AnswerRule("conversation", deletion_of("conversation")),
    "ConversationItem": AnswerRule("conversation.item", ITEM),
    "ConversationItemList": AnswerRule("conversation.item", page_of(ITEM), is_page=True),
    "ChatCompletionList": AnswerRule("chat.completion", page_of(STORED), is_page=True, order="asc"),
    "ChatCompletionMessageList": AnswerRule(
        "chat.completion.message", page_of(STORED_MESSAGE), is_page=True, order="asc"
    ),
    "GET /chat/completions/{completion_id}": AnswerRule("chat.completion", STORED),
    "POST /chat/completions/{completion_id}": AnswerRule("chat.completion", STORED),
    "ChatCompletionDeleted": AnswerRule(
        "chat.completion", shape("id", {"id": COMPLETION_ID, "deleted": {"const": True}})
    ),
}
