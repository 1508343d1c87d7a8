"""Every mapped class. Rows of a tenant carry `project_id`; a message's order in its thread is `position`.

Documents (tools, content, metadata) are JSON text, encoded and decoded by the rooms' typed schemas.
"""

from sqlalchemy import BigInteger, Float, ForeignKey, Index, LargeBinary, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.mapping import Base, Id, Json, Serial, UsageId, row_of, table

__all__ = ["Base", "row_of", "table"]  # with every class below: statements need the one together with the others

DEFAULT_PROJECT = "proj_default"

_UNENDED = text("ended_at IS NULL")
_CALLS = text("type = 'tool_calls'")
_CALLED = text("type = 'function_call'")
_SEALED = text("position IS NOT NULL")
_WAITING = text("position IS NULL")
_BRANCHED = text("parent_id IS NOT NULL")
_LISTED = text("id >= 'thread_'")


class ProjectRow(Base):
    """A tenant. Every row that is a client's carries the id of one. `changed_at` is in milliseconds and only rises."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    limits: Mapped[str] = mapped_column(Json)
    created_at: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)
    archived_at: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_projects_created", "created_at", "id"), Index("ix_projects_changed", "changed_at"))


class ApiKeyRow(Base):
    """An API key, without its secret. `generation` rises when the secret changes and when the key is revoked."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[str] = mapped_column(Json)
    models: Mapped[str | None] = mapped_column(Json)
    limits: Mapped[str] = mapped_column(Json)
    generation: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)
    rotated_at: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    last_used_at: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index("ix_api_keys_created", "created_at", "id"),
        Index("ix_api_keys_project_created", "project_id", "created_at", "id"),
        Index("ix_api_keys_changed", "changed_at"),
    )


class AssistantRow(Base):
    """An assistant: a model with instructions and tools."""

    __tablename__ = "assistants"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    instructions: Mapped[str | None] = mapped_column(Text)
    tools: Mapped[str] = mapped_column(Json)
    tool_resources: Mapped[str | None] = mapped_column(Json)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    temperature: Mapped[float | None] = mapped_column(Float)
    top_p: Mapped[float | None] = mapped_column(Float)
    response_format: Mapped[str | None] = mapped_column(Json)
    reasoning_effort: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_assistants_project_created", "project_id", "created_at", "id"),)


class ThreadRow(Base):
    """A thread, which is also a conversation. `active_run_id` is its lock; `last_position` its newest item.

    One whose id begins with `chain_` holds responses that belong to no conversation, and no list shows it. It may go on
    from another thread: what that one has up to `parent_position` is its past, too.
    """

    __tablename__ = "threads"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    tool_resources: Mapped[str | None] = mapped_column(Json)
    assistant_id: Mapped[str | None] = mapped_column(Id, ForeignKey("assistants.id", ondelete="CASCADE"))
    active_run_id: Mapped[str | None] = mapped_column(Id)
    last_position: Mapped[int] = mapped_column(BigInteger)
    # No foreign key: who deletes a thread deletes it also for those that went on from it.
    parent_id: Mapped[str | None] = mapped_column(Id)
    parent_position: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index("ix_threads_listed", "project_id", "created_at", "id", sqlite_where=_LISTED, postgresql_where=_LISTED),
        Index("ix_threads_assistant", "assistant_id"),
        Index("ix_threads_parent", "parent_id", sqlite_where=_BRANCHED, postgresql_where=_BRANCHED),
    )


class MessageRow(Base):
    """A message at its position in a thread."""

    __tablename__ = "messages"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    thread_id: Mapped[str] = mapped_column(Id, ForeignKey("threads.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    role: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Json)
    attachments: Mapped[str | None] = mapped_column(Json)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    assistant_id: Mapped[str | None] = mapped_column(Id)
    run_id: Mapped[str | None] = mapped_column(Id)
    incomplete_reason: Mapped[str | None] = mapped_column(Text)
    completed_at: Mapped[int | None] = mapped_column(BigInteger)
    incomplete_at: Mapped[int | None] = mapped_column(BigInteger)
    # What the message takes of a window, and the model whose tokenizer says so.
    token_count: Mapped[int | None] = mapped_column(BigInteger)
    token_model: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("ux_messages_thread_position", "thread_id", "position", unique=True),
        Index("ix_messages_thread_run", "thread_id", "run_id", "position"),
    )


class ItemRow(Base):
    """What a conversation holds and an Assistants thread has no name for, at its position among the messages.

    A client's function call, the output of one, what a model reasoned, a message of the system or the developer. `body`
    is the item as clients see it, without its id. `run_id` is the response that reasoned. Calls that a model makes are
    in the details of a step; messages of users and assistants are messages.
    """

    __tablename__ = "items"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    thread_id: Mapped[str] = mapped_column(Id, ForeignKey("threads.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(Text)
    call_id: Mapped[str | None] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Json)
    run_id: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        Index("ux_items_thread_position", "thread_id", "position", unique=True),
        Index(
            "ix_items_thread_call", "thread_id", "call_id", "position", sqlite_where=_CALLED, postgresql_where=_CALLED
        ),
    )


class RunRow(Base):
    """A turn of a model over a thread. `fence` rises with every owner; a late writer of an old one is refused.

    `owner` is the server that accepted the run, took its outputs, or took it over: whichever was the last. A turn whose
    `surface` is `response` hands the model's calls to its client and ends. `whole_context`: nothing is left out for it.
    `last_position` is the thread's newest item when it ended.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    thread_id: Mapped[str] = mapped_column(Id, ForeignKey("threads.id", ondelete="CASCADE"))
    assistant_id: Mapped[str | None] = mapped_column(Id)
    status: Mapped[str] = mapped_column(Text)
    fence: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None] = mapped_column(Json)
    incomplete_reason: Mapped[str | None] = mapped_column(Text)
    required_action: Mapped[str | None] = mapped_column(Json)
    usage: Mapped[str | None] = mapped_column(Json)
    model: Mapped[str] = mapped_column(Text)
    instructions: Mapped[str] = mapped_column(Text)
    tools: Mapped[str] = mapped_column(Json)
    tool_resources: Mapped[str | None] = mapped_column(Json)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    temperature: Mapped[float | None] = mapped_column(Float)
    top_p: Mapped[float | None] = mapped_column(Float)
    max_prompt_tokens: Mapped[int | None] = mapped_column(BigInteger)
    max_completion_tokens: Mapped[int | None] = mapped_column(BigInteger)
    truncation_strategy: Mapped[str] = mapped_column(Json)
    tool_choice: Mapped[str] = mapped_column(Json)
    parallel_tool_calls: Mapped[bool]
    response_format: Mapped[str | None] = mapped_column(Json)
    reasoning_effort: Mapped[str | None] = mapped_column(Text)
    key_id: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str | None] = mapped_column(Id)
    surface: Mapped[str] = mapped_column(Text, server_default="run")
    whole_context: Mapped[bool] = mapped_column(server_default=false())
    last_position: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index("ix_runs_thread_created", "thread_id", "created_at", "id"),
        # Finds what a stopped process left behind without reading the ended runs.
        Index("ix_runs_unfinished", "created_at", "id", sqlite_where=_UNENDED, postgresql_where=_UNENDED),
    )


class ResponseRow(Base):
    """What of a response its run's row does not hold. Its input is the `input_count` items from `first_position` on.

    `settings` are what the client asked for and is told again. Deleted, it leaves its run where a conversation has it.
    """

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[str] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"))
    thread_id: Mapped[str] = mapped_column(Id)
    previous_response_id: Mapped[str | None] = mapped_column(Id)
    background: Mapped[bool]
    first_position: Mapped[int] = mapped_column(BigInteger)
    input_count: Mapped[int] = mapped_column(BigInteger)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    settings: Mapped[str] = mapped_column(Json)

    __table_args__ = (
        Index("ix_responses_project_created", "project_id", "created_at", "id"),
        Index("ix_responses_thread", "thread_id", "first_position"),
        Index("ix_responses_run", "run_id"),
    )


class ServerRow(Base):
    """A server that shares the store with others. `seen_at`, in milliseconds of the store's clock: when it last spoke.

    What it owns is its own as long as that is not too long ago. A row that is missing is as good as an old one.
    """

    __tablename__ = "servers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    seen_at: Mapped[int] = mapped_column(BigInteger)


class StepRow(Base):
    """A step of a run: the making of one message, or a round of tool calls."""

    __tablename__ = "run_steps"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    thread_id: Mapped[str] = mapped_column(Id)
    run_id: Mapped[str] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"))
    assistant_id: Mapped[str | None] = mapped_column(Id)
    position: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    step_details: Mapped[str] = mapped_column(Json)
    last_error: Mapped[str | None] = mapped_column(Json)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    usage: Mapped[str | None] = mapped_column(Json)

    __table_args__ = (
        Index("ix_run_steps_run_created", "run_id", "created_at", "id"),
        Index("ix_run_steps_thread_calls", "thread_id", "position", sqlite_where=_CALLS, postgresql_where=_CALLS),
    )


class RunEventsRow(Base):
    """Events `first_seq` to `last_seq` of a run, journalled in one transaction. Pruned once the run is long over."""

    __tablename__ = "run_events"

    run_id: Mapped[str] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    first_seq: Mapped[int] = mapped_column(BigInteger)
    written_at: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (Index("ix_run_events_written", "written_at"),)


class ChatCompletionRow(Base):
    """A chat completion that a client asked to store. `model` is the served model, whatever alias led to it.

    Its input comes last, so that a list of completions leaves it unread.
    """

    __tablename__ = "chat_completions"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str] = mapped_column(Text)
    metadata_: Mapped[str] = mapped_column("metadata", Json)
    completion: Mapped[str] = mapped_column(Json)
    messages: Mapped[str] = mapped_column(Json)

    __table_args__ = (
        Index("ix_chat_completions_created", "project_id", "created_at", "id"),
        Index("ix_chat_completions_model", "project_id", "model", "created_at", "id"),
    )


class VectorStoreRow(Base):
    """The name of a vector store that was brought along from elsewhere: what refers to it finds it again."""

    __tablename__ = "vector_stores"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str | None] = mapped_column(Text)
    metadata_: Mapped[str] = mapped_column("metadata", Json)

    __table_args__ = (Index("ix_vector_stores_project_created", "project_id", "created_at", "id"),)


class UsageRow(Base):
    """What a key used in a project on a day (UTC). Ids begin with the day, so they sort by it."""

    __tablename__ = "usage"

    id: Mapped[str] = mapped_column(UsageId, primary_key=True)
    day: Mapped[str] = mapped_column(Id)
    project_id: Mapped[str] = mapped_column(Id)
    key_id: Mapped[str] = mapped_column(Id)
    requests: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    runs: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_usage_project", "project_id", "id"), Index("ix_usage_key", "key_id", "id"))


class AuditRow(Base):
    """What was done or denied, and by whom. `seq` tells rows apart; `position` is the place in the chain.

    Both `position` and `hash` are null until the row is sealed. No foreign keys: a record outlives what it tells of.
    """

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(Serial, primary_key=True)
    position: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[int] = mapped_column(BigInteger)
    request_id: Mapped[str | None] = mapped_column(Text)
    key_id: Mapped[str | None] = mapped_column(Text)
    project_id: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    object_id: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    times: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("ux_audit_position", "position", unique=True, sqlite_where=_SEALED, postgresql_where=_SEALED),
        Index("ix_audit_waiting", "seq", sqlite_where=_WAITING, postgresql_where=_WAITING),
    )
