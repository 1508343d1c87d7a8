"""Every list, append and run start is led by an index and sorts nothing, on tables that are worth an index."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, Table, text

from app.assistants.repository import AssistantReader
from app.db.database import Database, WriteTx
from app.db.opening import open_database
from app.db.sqlite import SqliteDatabase
from app.db.tables import ThreadRow, table
from app.engine.context import PastCalls, PastMessage
from app.engine.journal import _events_after
from app.engine.pruning import prune
from app.items.compiling import compiled
from app.items.repository import ItemReader, ItemWriter
from app.keys.repository import KeyReader
from app.kit.pages import Page, PageQuery
from app.messages.history import END, newest
from app.messages.repository import MessageReader, MessageWriter
from app.messages.schemas import CreateMessage
from app.runs.columns import input_of
from app.runs.repository import RunReader, RunWriter, overdue, unended
from app.runs.schemas import CreateRun
from app.stored.repository import CompletionReader, CompletionWriter
from app.stored.schemas import Document
from app.threads.repository import ThreadReader, ThreadWriter
from tests.fakes.callers import CALLER
from tests.fixtures.databases import create_postgres_database
from tests.fixtures.rooms import Served
from tests.fixtures.servers import MODEL
from tests.integration.db import filling
from tests.integration.db.closing import aclosed
from tests.integration.db.filling import CALLING_RUN, PROJECT, RUN, THREAD, suffix
from tests.integration.db.plans import listening, plan_of, plans_of

pytestmark = pytest.mark.anyio

ROWS = 10_000
CALLS = 99  # among the newest messages
CONVERSATION_TIMEOUT_S = 30
MIDDLE, LATER = suffix(ROWS // 2), suffix(ROWS // 2 + 50)
NOW = 1_700_000_000
AGAIN = {"role": "user", "content": "weather in Rome"}
OF_MIDDLE = f"model-{ROWS // 2 % 50 // 2}"
Work = Callable[[WriteTx], object]


class Undone(Exception):
    """Takes back what a planned work wrote."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def full_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Database]:
    """Give a store with many rows in every table, on each engine, whose statistics are up to date."""
    url = f"sqlite:///{tmp_path_factory.mktemp('full')}/full.db"
    if request.param == "postgresql":
        url = await create_postgres_database(request.getfixturevalue("postgres_url"))
    async with aclosed(await open_database(url)) as database:
        for fill in (
            filling.fill_threads,
            filling.fill_messages,
            filling.fill_assistants,
            filling.fill_runs,
            filling.fill_items,
            filling.fill_keys,
            filling.fill_completions,
        ):
            await database.write(partial(fill, count=ROWS))
        await database.write(filling.fill_other_messages)
        await database.write(partial(filling.fill_calls, count=ROWS, last=ROWS))
        # SQLite is left without statistics, as an appliance's file is.
        if request.param == "postgresql":
            await database.write(lambda tx: tx.run(text("ANALYZE")))
        yield database


def pages(prefix: str) -> list[PageQuery]:
    """Return a query of every kind for a list whose ids begin with `prefix`."""
    middle, later = f"{prefix}_{MIDDLE}", f"{prefix}_{LATER}"
    return [
        PageQuery(order=order, after=after, before=before)
        for order in ("asc", "desc")
        for after, before in (
            (None, None),
            (middle, None),
            (None, middle),
            (middle, later) if order == "asc" else (later, middle),
        )
    ]


def each_page(list_page: Callable[[WriteTx, PageQuery], Any], prefix: str, tx: WriteTx) -> None:
    for query in pages(prefix):
        assert list_page(tx, query).data


def append(tx: WriteTx) -> None:
    MessageWriter(tx, CALLER).append(THREAD, [CreateMessage(role="user", content="and silver?")], NOW)


def start_run(tx: WriteTx) -> None:
    wanted = input_of(CreateRun(assistant_id=f"asst_{suffix(1)}"), 600)
    RunWriter(tx, CALLER).accept(THREAD, wanted, [], NOW, starts=True)
    told = newest(tx, THREAD, 100)
    assert sum(isinstance(item, PastMessage) for item in told) == 100
    assert sum(isinstance(item, PastCalls) for item in told) == CALLS


def run_messages(tx: WriteTx) -> None:
    for order in ("asc", "desc"):
        query = PageQuery(order=order)
        assert len(MessageReader(tx, PROJECT).page(THREAD, "run_4000", query).data) == 2


def item_pages(tx: WriteTx) -> None:
    """Page through the items from both ends, and after a message, an item of another kind, and a call."""
    for order in ("asc", "desc"):
        for after in (None, f"msg_{MIDDLE}", f"fco_{MIDDLE}"):
            query = PageQuery(order=order, after=after)
            assert len(ItemReader(tx, PROJECT).page(THREAD, query).data) == 20
        assert ItemReader(tx, PROJECT).page(THREAD, PageQuery(order=order, after="fc_1")).data


def use_items(tx: WriteTx) -> None:
    """Add items, find them and others, and delete one of each kind."""
    writer = ItemWriter(tx, CALLER)
    said = compiled([{"role": "user", "content": "and silver?"}, {"role": "system", "content": "Be brief."}], "items")
    made = [item.id for item in writer.append(THREAD, writer.resolved(said), NOW)]
    assert writer.find(f"fc_{MIDDLE}") is None
    assert writer.lineage(f"chain_{MIDDLE}") == [(f"chain_{MIDDLE}", END)]
    assert len(writer.between(THREAD, ROWS + 1, 2)) == 2
    assert writer.of_run(THREAD, CALLING_RUN, ROWS - 10, ROWS)
    for item in (*made, "fc_1"):
        writer.delete(THREAD, item, NOW)


def completions_of(model: str | None, tx: WriteTx, query: PageQuery) -> Page[Document]:
    """List completions, without the cursor that their lists do not take."""
    return CompletionReader(tx, PROJECT).page(replace(query, before=None), model, {})


def use_completion(tx: WriteTx) -> None:
    writer = CompletionWriter(tx, CALLER)
    made = f"chatcmpl_{MIDDLE}"
    assert writer.messages(made, PageQuery()).data
    assert writer.set_metadata(made, {"a": "b"}, NOW).id == made
    writer.delete(made, NOW)


WORKS: dict[str, tuple[Work, set[str]]] = {
    "pages of assistants": (
        partial(each_page, lambda tx, query: AssistantReader(tx, PROJECT).page(query), "asst"),
        {"assistants.id", "ix_assistants_project_created"},
    ),
    "pages of threads": (
        partial(each_page, lambda tx, query: ThreadReader(tx, PROJECT).page(query, {}), "thread"),
        {"threads.id", "ix_threads_listed"},
    ),
    "pages of messages": (
        partial(each_page, lambda tx, query: MessageReader(tx, PROJECT).page(THREAD, None, query), "msg"),
        {"threads.id", "messages.id", "ux_messages_thread_position"},
    ),
    "a call that an output is of": (
        lambda tx: ItemReader(tx, PROJECT).call_known([(THREAD, NOW)], "call_nobodys"),
        {"ix_items_thread_call", "ix_run_steps_thread_calls", "runs.id"},
    ),
    "pages of items": (
        item_pages,
        {
            *{"threads.id", "messages.id", "items.id", "runs.id"},
            *{"ux_messages_thread_position", "ux_items_thread_position", "ix_run_steps_thread_calls"},
        },
    ),
    "use of items": (
        use_items,
        {
            *{"threads.id", "messages.id", "items.id", "runs.id", "run_steps.id"},
            *{"ux_messages_thread_position", "ux_items_thread_position", "ix_run_steps_thread_calls"},
        },
    ),
    "messages of a run": (run_messages, {"threads.id", "ix_messages_thread_run"}),
    "pages of runs": (
        partial(each_page, lambda tx, query: RunReader(tx, PROJECT).page(THREAD, query), "run"),
        {"threads.id", "runs.id", "ix_runs_thread_created"},
    ),
    "pages of steps": (
        partial(each_page, lambda tx, query: RunReader(tx, PROJECT).steps(THREAD, RUN, query), "step"),
        {"runs.id", "run_steps.id", "ix_run_steps_run_created"},
    ),
    "one of each": (
        lambda tx: (
            ThreadReader(tx, PROJECT).require(THREAD),
            MessageReader(tx, PROJECT).require(THREAD, f"msg_{MIDDLE}"),
            RunReader(tx, PROJECT).step(THREAD, RUN, f"step_{MIDDLE}"),
        ),
        {"threads.id", "messages.id", "runs.id", "run_steps.id"},
    ),
    "append of a message": (append, {"threads.id"}),
    "start of a run": (
        start_run,
        {
            *{"threads.id", "assistants.id"},
            *{"ux_messages_thread_position", "ix_run_steps_thread_calls", "ux_items_thread_position"},
        },
    ),
    "events of a run": (lambda tx: _events_after(tx, RUN, ROWS - 5), {"run_events.id"}),
    "unended runs": (unended, {"ix_runs_unfinished"}),
    "overdue runs": (lambda tx: overdue(tx, NOW), {"ix_runs_unfinished"}),
    "events to be forgotten": (
        lambda tx: prune(tx, NOW + 20),
        {"run_events.id", "runs.id", "ix_run_events_written"},
    ),
    "keys of a project": (
        lambda tx: KeyReader(tx).keys(f"proj_{MIDDLE}", PageQuery()),
        {"ix_api_keys_project_created"},
    ),
    "a key": (lambda tx: KeyReader(tx).require_key(f"key_{MIDDLE}"), {"api_keys.id", "projects.id"}),
    "changes of keys": (
        lambda tx: KeyReader(tx).changed_since(NOW + 990),
        {"ix_api_keys_changed", "ix_projects_changed"},
    ),
    "pages of stored completions": (
        partial(each_page, partial(completions_of, None), "chatcmpl"),
        {"chat_completions.id", "ix_chat_completions_created"},
    ),
    "pages of a model's completions": (
        partial(each_page, partial(completions_of, OF_MIDDLE), "chatcmpl"),
        {"chat_completions.id", "ix_chat_completions_model"},
    ),
    "completions with metadata": (
        lambda tx: CompletionReader(tx, PROJECT).page(PageQuery(), None, {"a": "b"}),
        {"ix_chat_completions_created"},
    ),
    "a stored completion": (use_completion, {"chat_completions.id"}),
    "deletion of a thread": (lambda tx: ThreadWriter(tx, CALLER).delete(THREAD, NOW), {"threads.id"}),
}

# SQLite's plan of a deletion also tells how it finds the rows that go with it. Of two indexes that lead to what a run
# said, among the few messages that can be it, PostgreSQL takes the one by position.
SQLITE_ALSO = {
    "use of items": {"ix_messages_thread_run"},
    "deletion of a thread": {"ux_messages_thread_position", "ix_runs_thread_created", "ux_items_thread_position"},
}


@pytest.mark.parametrize("name", WORKS)
async def test_statements_are_led_by_an_index_and_sort_nothing(name: str, full_store: Database) -> None:
    work, expected = WORKS[name]
    plans = []

    def look(tx: WriteTx) -> None:
        plans.extend(plans_of(tx, work))
        raise Undone

    with pytest.raises(Undone):
        await full_store.write(look)
    if isinstance(full_store, SqliteDatabase):
        expected = expected | SQLITE_ALSO.get(name, set())
    assert plans
    for plan in plans:
        assert not plan.scans, plan
        assert not plan.sorts, plan
    assert frozenset().union(*(plan.indexes for plan in plans)) == expected


async def test_a_list_of_completions_leaves_their_messages_unread(full_store: Database) -> None:
    work, _ = WORKS["pages of stored completions"]
    plans = await full_store.write(lambda tx: plans_of(tx, work))
    assert any("chat_completions.completion" in plan.statement for plan in plans)
    assert not any("chat_completions.messages" in plan.statement for plan in plans)


async def test_so_is_every_statement_that_whole_conversations_send(opened_api: Served) -> None:
    dialect = await opened_api.database.read(lambda tx: tx._connection.dialect.name)
    with listening(Engine, dialect) as sent:
        await asyncio.wait_for(converse(opened_api.client), CONVERSATION_TIMEOUT_S)
    statements = dict(sent)
    for begins in ("SELECT threads", "INSERT INTO runs", "UPDATE runs", "UPDATE messages", "DELETE FROM threads"):
        assert any(statement.startswith(begins) for statement in statements), begins
    plans = await opened_api.database.write(lambda tx: [plan_of(tx, one) for one in statements.items()])
    assert [plan for plan in plans if plan.scans or plan.sorts] == []


async def converse(client: httpx2.AsyncClient) -> None:
    """Use every operation there is: two runs, one of which calls a tool, and everything read, changed and deleted."""

    async def ask(method: str, path: str, body: object = None) -> Any:
        answer = await client.request(method, f"/v1/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text

    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    tools = [{"type": "function", "function": function}]
    assistant = await ask("POST", "assistants", {"model": MODEL, "tools": tools})
    first = [{"role": "user", "content": "say exactly: gold"}]
    thread = await ask("POST", "threads", {"messages": first, "metadata": {"desk": "metals"}})
    run_body = {"assistant_id": assistant["id"]}
    messages, runs = f"threads/{thread['id']}/messages", f"threads/{thread['id']}/runs"
    await ask("POST", runs, {**run_body, "stream": True})
    asked = await ask("POST", messages, {"role": "user", "content": "weather in Paris"})
    run = await ask("POST", runs, run_body)
    while run["status"] != "requires_action":
        await asyncio.sleep(0.01)
        run = await ask("GET", f"{runs}/{run['id']}")
    calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": "rain"} for call in calls], "stream": True}
    await ask("POST", f"{runs}/{run['id']}/submit_tool_outputs", outputs)
    steps = await ask("GET", f"{runs}/{run['id']}/steps")
    await ask("GET", f"{runs}/{run['id']}/steps/{steps['data'][0]['id']}")
    await ask("GET", f"{messages}?run_id={run['id']}&order=asc")
    for path, one in (("assistants", assistant), ("threads", thread), (messages, asked), (runs, run)):
        for query in ("", f"?order=asc&after={one['id']}", f"?before={one['id']}"):
            await ask("GET", path + query)
        await ask("GET", f"{path}/{one['id']}")
        await ask("POST", f"{path}/{one['id']}", {"metadata": {"seen": "yes"}})
    await use_conversation(ask, thread["id"].replace("thread_", "conv_"))
    await use_responses(ask, thread["id"].replace("thread_", "conv_"))
    waiting = await ask("POST", "threads/runs", {**run_body, "thread": {"messages": [AGAIN]}})
    await ask("POST", f"threads/{waiting['thread_id']}/runs/{waiting['id']}/cancel")
    await ask("DELETE", f"{messages}/{asked['id']}")
    await ask("DELETE", f"threads/{thread['id']}")
    await ask("DELETE", f"assistants/{assistant['id']}")


async def use_conversation(ask: Callable[..., Any], conversation_id: str) -> None:
    """Use every operation of conversations, on a thread in which a run called a tool."""
    made = await ask("POST", "conversations", {"items": [AGAIN]})
    await ask("DELETE", f"conversations/{made['id']}")
    where = f"conversations/{conversation_id}"
    await ask("GET", where)
    await ask("POST", where, {"metadata": {"desk": "energy"}})
    added = await ask("POST", f"{where}/items", {"items": [{"role": "system", "content": "x"}, AGAIN]})
    held = await ask("GET", f"{where}/items")
    called = next(item for item in held["data"] if item["type"] == "function_call")
    for item in (called, *added["data"]):
        await ask("GET", f"{where}/items?after={item['id']}")
        await ask("GET", f"{where}/items/{item['id']}")
        await ask("POST", f"{where}/items", {"items": [{"id": item["id"]}]})
        await ask("DELETE", f"{where}/items/{item['id']}")


async def use_responses(ask: Callable[..., Any], conversation_id: str) -> None:
    """Use every operation of responses: in a conversation, on a chain that is forked, and with a call of a tool."""
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}]
    await ask("POST", "responses", {"input": "say exactly: x", "conversation": conversation_id})
    root = await ask("POST", "responses", {"input": "weather in Paris", "tools": tools})
    [call] = root["output"]
    answered = [{"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}, {"id": call["id"]}]
    after = {"previous_response_id": root["id"], "tools": tools}
    made = [await ask("POST", "responses", {"input": answered, **after}) for _ in range(2)]
    await ask("POST", "responses", {"input": answered, "store": False, **after})
    await ask("POST", "responses/compact", {"model": MODEL, "previous_response_id": made[1]["id"]})
    running = await ask("POST", "responses", {"input": "repeat 1000000 words", "background": True})
    await ask("POST", f"responses/{running['id']}/cancel")
    for query in ("", f"?order=asc&after={root['id']}", f"?before={made[0]['id']}", "?metadata[a]=b"):
        await ask("GET", f"responses{query}")
    for response in (root, *made, running):
        await ask("GET", f"responses/{response['id']}/input_items")
        await ask("GET", f"responses/{response['id']}?stream=true")
        await ask("DELETE", f"responses/{response['id']}")


def test_every_foreign_key_is_led_by_an_index_so_that_a_deletion_finds_what_it_takes_along() -> None:
    metadata = table(ThreadRow).metadata
    for made in metadata.sorted_tables:
        for key in made.foreign_keys:
            assert key.parent.name in leading_columns(made), f"{made.name}.{key.parent.name}"


def leading_columns(made: Table) -> set[str]:
    return {made.primary_key.columns.keys()[0], *(index.columns.keys()[0] for index in made.indexes)}
