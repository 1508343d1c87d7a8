"""Fills a store with rows in bulk, in SQL that both engines read: what a page costs must not depend on them."""

from sqlalchemy import text

from app.db.database import WriteTx

PROJECT = "proj_default"
TRUNCATION = '{"type":"auto","last_messages":null}'
DETAILS = '{"type":"message_creation","message_creation":{"message_id":"msg_1"}}'
OUTPUT = '{"call_id":"call_2","output":"found"}'
CALLS = (
    '{"type":"tool_calls","tool_calls":[{"type":"function","id":"call_1",'
    '"function":{"name":"look_up","arguments":"{}","output":"found"}}]}'
)
COMPLETION = '{"object":"chat.completion","created":1700000000,"model":"any","choices":[]}'
INPUT = '[{"role":"user","content":"and gold?"}]'
CONTENT = '[{"type":"text","text":{"value":"gold rose on a weaker dollar","annotations":[]}}]'

# `numbers` is the table of 1 to :count; an id is its prefix and 24 digits.
_COUNTED = "SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < CAST(:count AS INTEGER)"
_NUMBERS = f"WITH RECURSIVE numbers (n) AS ({_COUNTED})"
_SUFFIX = "'000000000000000' || CAST(100000000 + n AS TEXT)"
_UP_TO_LAST = "n + CAST(:last AS INTEGER) - CAST(:count AS INTEGER)"

_THREADS = f"""
    INSERT INTO threads (id, project_id, created_at, metadata, last_position)
    {_NUMBERS} SELECT 'thread_' || {_SUFFIX}, 'proj_default', 1700000000 + n / 10, '{{}}', 0 FROM numbers
"""
_MESSAGES = f"""
    INSERT INTO messages (id, project_id, thread_id, position, created_at, role, status, content, attachments,
                          metadata, run_id, completed_at)
    {_NUMBERS} SELECT 'msg_' || {_SUFFIX}, 'proj_default', :thread, n, 1700000000 + n / 10, 'user', 'completed',
                      :content, '[]', '{{}}', 'run_' || CAST(n / 2 AS TEXT), 1700000000 + n / 10 FROM numbers
"""
_OTHER_MESSAGES = """
    INSERT INTO messages (id, project_id, thread_id, position, created_at, role, status, content, attachments,
                          metadata, completed_at)
    SELECT 'msg_of_' || id, 'proj_default', id, 1, created_at, 'user', 'completed', :content, '[]', '{}', created_at
    FROM threads WHERE id <> :thread
"""
_ASSISTANTS = f"""
    INSERT INTO assistants (id, project_id, created_at, model, tools, metadata)
    {_NUMBERS} SELECT 'asst_' || {_SUFFIX}, 'proj_default', 1700000000 + n / 10, 'any', '[]', '{{}}' FROM numbers
"""
_PROJECTS = f"""
    INSERT INTO projects (id, name, limits, created_at, changed_at)
    {_NUMBERS} SELECT 'proj_' || {_SUFFIX}, 'any', '{{}}', 1700000000 + n / 10, 1700000000000 + n / 10 * 1000
               FROM numbers
"""
_KEYS = f"""
    INSERT INTO api_keys (id, project_id, name, scopes, limits, generation, hash, created_at, changed_at)
    {_NUMBERS} SELECT 'key_' || {_SUFFIX}, 'proj_' || {_SUFFIX}, 'any', '["chat"]', '{{}}', 0, '00',
                      1700000000 + n / 10, 1700000000000 + n / 10 * 1000
               FROM numbers
"""
_COMPLETIONS = f"""
    INSERT INTO chat_completions (id, project_id, created_at, model, metadata, completion, messages)
    {_NUMBERS} SELECT 'chatcmpl_' || {_SUFFIX}, 'proj_default', 1700000000 + n / 10,
                      'model-' || CAST(n % 50 / 2 AS TEXT), '{{}}', :completion, :messages FROM numbers
"""
_RUNS = f"""
    INSERT INTO runs (id, project_id, thread_id, assistant_id, status, fence, created_at, expires_at, ended_at, model,
                      instructions, tools, metadata, truncation_strategy, tool_choice, parallel_tool_calls)
    {_NUMBERS} SELECT 'run_' || {_SUFFIX}, 'proj_default', :thread, 'asst_1', 'completed', 1, 1700000000 + n / 10,
                      1700000600 + n, 1700000002 + n, 'any', '', '[]', '{{}}',
                      :truncation, '"auto"', true FROM numbers
"""
_STEPS = f"""
    INSERT INTO run_steps (id, project_id, thread_id, run_id, assistant_id, created_at, type, status, step_details,
                           ended_at, metadata)
    {_NUMBERS} SELECT 'step_' || {_SUFFIX}, 'proj_default', :thread, :run, 'asst_1', 1700000000 + n / 10,
                      'message_creation', 'completed', :details, 1700000000 + n, '{{}}' FROM numbers
"""
_CALLS = f"""
    INSERT INTO run_steps (id, project_id, thread_id, run_id, assistant_id, position, created_at, type, status,
                           step_details, ended_at, metadata)
    {_NUMBERS} SELECT 'step_of_call_' || CAST({_UP_TO_LAST} AS TEXT), 'proj_default', :thread, :run, 'asst_1',
                      {_UP_TO_LAST}, 1800000000 + n, 'tool_calls', 'completed', :details, 1800000000 + n, '{{}}'
               FROM numbers
"""
_ITEMS = f"""
    INSERT INTO items (id, project_id, thread_id, position, created_at, type, call_id, body)
    {_NUMBERS} SELECT 'fco_' || {_SUFFIX}, 'proj_default', :thread, n, 1700000000 + n, 'function_call_output',
                      'call_' || CAST(n AS TEXT), :body FROM numbers
"""
_EVENTS = f"""
    INSERT INTO run_events (run_id, first_seq, last_seq, written_at, events)
    {_NUMBERS} SELECT :run, n, n, 1700000000 + n, CAST('[]' AS {{bytes}}) FROM numbers
"""
_COUNT_POSITIONS = text("UPDATE threads SET last_position = :count WHERE id = :thread")


def suffix(number: int) -> str:
    """Return the 24 digits of a filled row's id."""
    return f"000000000000000{100_000_000 + number}"


THREAD = f"thread_{suffix(1)}"
RUN, CALLING_RUN = f"run_{suffix(1)}", f"run_{suffix(2)}"


def fill_threads(tx: WriteTx, count: int) -> None:
    """Add threads 1 to `count`."""
    tx.run(text(_THREADS), {"count": count})


def fill_messages(tx: WriteTx, count: int) -> None:
    """Add messages 1 to `count` to the first thread, two for each made-up run."""
    tx.run(text(_MESSAGES), {"count": count, "thread": THREAD, "content": CONTENT})
    tx.run(_COUNT_POSITIONS, {"count": count, "thread": THREAD})


def fill_other_messages(tx: WriteTx) -> None:
    """Add a message to every thread but the first."""
    tx.run(text(_OTHER_MESSAGES), {"thread": THREAD, "content": CONTENT})


def fill_keys(tx: WriteTx, count: int) -> None:
    """Add projects with a key each."""
    for statement in (_PROJECTS, _KEYS):
        tx.run(text(statement), {"count": count})


def fill_assistants(tx: WriteTx, count: int) -> None:
    """Add assistants 1 to `count`."""
    tx.run(text(_ASSISTANTS), {"count": count})


def fill_completions(tx: WriteTx, count: int) -> None:
    """Add stored chat completions 1 to `count`, of 25 models in turn."""
    tx.run(text(_COMPLETIONS), {"count": count, "completion": COMPLETION, "messages": INPUT})


def fill_runs(tx: WriteTx, count: int) -> None:
    """Add ended runs 1 to `count` to the first thread, and to the first of them as many steps and events."""
    tx.run(text(_RUNS), {"count": count, "thread": THREAD, "truncation": TRUNCATION})
    tx.run(text(_STEPS), {"count": count, "thread": THREAD, "run": RUN, "details": DETAILS})
    as_bytes = "BYTEA" if tx._connection.dialect.name == "postgresql" else "BLOB"
    tx.run(text(_EVENTS.format(bytes=as_bytes)), {"count": count, "run": RUN})


def fill_items(tx: WriteTx, count: int) -> None:
    """Add as many outputs of calls to the first thread, beside its messages."""
    tx.run(text(_ITEMS), {"count": count, "thread": THREAD, "body": OUTPUT})


def fill_calls(tx: WriteTx, count: int, last: int) -> None:
    """Add tool calls to the first thread, at the `count` positions up to `last`."""
    tx.run(text(_CALLS), {"count": count, "last": last, "thread": THREAD, "run": CALLING_RUN, "details": CALLS})
