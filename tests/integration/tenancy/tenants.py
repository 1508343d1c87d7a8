"""Two tenants of one server with the same things each, what is stored for one, what the store is asked. No fixtures.

An answer and the statements behind it are compared with those for an id that nobody has, of the same form and length.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine, event, select

from app.db.database import Database, ReadTx
from app.db.tables import Base
from tests.fixtures.calls import LOOK_AGAIN_S, Json, completed_run, get, new_assistant, new_thread, post
from tests.fixtures.responses import respond
from tests.fixtures.servers import MODEL
from tests.fixtures.tools import calls_of, steps_of, waiting_run
from tests.integration.tenancy.aims import DOCUMENT, Aim, Operation, smallest, with_id

TOOL = {"type": "function", "function": {"name": "get_price", "parameters": {"type": "object", "properties": {}}}}
# Of one moment, whoever asks: when a key was last used, and when the audit was sealed.
OF_THE_MOMENT = {("api_keys", "last_used_at"), ("audit", "position"), ("audit", "hash")}
NOBODYS = {"servers"}
"""Tables of what belongs to no project."""
LOOKS = 400
# What a body needs to be taken, where its schema says less than what reads it.
TAKEN: Json = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
EXCLUSIVE = {"conversation", "previous_response_id"}
"""Of these a body has one at most."""
HEADERS_OF_THE_MOMENT = ("x-request-id", "openai-processing-ms", "date")


class Caller(NamedTuple):
    """A client that uses one key."""

    client: Any
    key: str

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Ask with the key."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> Any:
        """GET with the key."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Any:
        """POST with the key."""
        return await self.request("POST", path, **options)


class Tenant(NamedTuple):
    """A project's caller, and the ids of its things by the names under which clients send them."""

    api: Caller
    ids: dict[str, str]
    idle_thread: str
    word: str

    @property
    def everything(self) -> set[str]:
        """Every id."""
        return {*self.ids.values(), self.idle_thread}


class Asked(NamedTuple):
    """What came of a request, without what differs from moment to moment, and what the store was asked for it."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    statements: list[str]


async def new_tenant(admin: Caller, word: str) -> Tenant:
    """Make a project, a key, and one thing of each kind: a run that waits for outputs, and a thread that is free."""
    project = await post(admin, "/admin/projects", {"name": word})
    key = await post(admin, "/admin/keys", {"name": word, "project_id": project["id"]})
    api = Caller(admin.client, key["key"])
    assistant = await new_assistant(api, name=word, tools=[TOOL], metadata={"of": word})
    thread = await new_thread(api, f"What is the price of ACME? ({word})", metadata={"of": word})
    run = await waiting_run(api, thread, assistant, metadata={"of": word})
    plain = await new_assistant(api, name=word)
    idle = await new_thread(api, word, metadata={"of": word})
    await completed_run(api, idle, plain)
    message = (await get(api, f"/v1/threads/{thread}/messages"))["data"][0]["id"]
    ids = {"assistant_id": assistant, "thread_id": thread, "message_id": message, "run_id": run["id"]}
    ids |= {"conversation_id": f"conv{thread.removeprefix('thread')}", "item_id": message, "id": message}
    conversation, response = ids["conversation_id"], await respond(api, word, metadata={"of": word})
    ids |= {"conversation": conversation, "response_id": response["id"], "previous_response_id": response["id"]}
    if "/v1/chat/completions/{completion_id}" in DOCUMENT["paths"]:
        ids |= {"completion_id": await kept_completion(api, word)}
    ids |= {"step_id": (await steps_of(api, run))[0]["id"], "tool_call_id": calls_of(run)[0]["id"]}
    return Tenant(api, ids | {"key_id": key["id"], "project_id": project["id"], "object_id": thread}, idle, word)


async def kept_completion(api: Caller, word: str) -> str:
    """Make a chat completion that is kept; return its id once it is there."""
    made = await post(api, "/v1/chat/completions", TAKEN | {"store": True, "metadata": {"of": word}})
    for _ in range(LOOKS):
        if (await api.get(f"/v1/chat/completions/{made['id']}")).status_code == 200:
            return str(made["id"])
        await asyncio.sleep(LOOK_AGAIN_S)
    raise AssertionError(
        f"a chat completion was to be kept, and {made['id']}, which it was answered with, is not there"
    )


def unknown(ids: dict[str, str]) -> dict[str, str]:
    """Return ids that nobody has, of the form and length of these."""
    return {name: found[:-8] + "ZZZZZZZZ" for name, found in ids.items()}


def request_of(operation: Operation, aim: Aim, own: Tenant, others: dict[str, str]) -> tuple[str, str, Json]:
    """Return a request that is one's own in everything but what is aimed: method, path and options."""
    mine = dict(own.ids)
    if "run_id" not in operation.path_ids:
        mine["thread_id"] = own.idle_thread  # a run may start there: only the aim can be what is refused
    path = operation.path.format_map(mine | {name: others[name] for name in aim.in_path})
    options: Json = {}
    if aim.in_query:
        options["params"] = {aim.in_query: others[aim.kind]}
    if operation.body is not None:
        body = smallest(operation.body, TAKEN | mine)
        for other in EXCLUSIVE - set(aim.in_body[:1] or ("conversation",)):
            if body.keys() >= EXCLUSIVE:
                del body[other]
        options["json"] = with_id(body, aim.in_body, others[aim.kind]) if aim.in_body else body
    return operation.method.upper(), path, options


async def ask(api: Caller, method: str, path: str, options: Json, hidden: set[str]) -> Asked:
    """Ask; return what came of it, with what was sent as another's id replaced by one word."""
    with statements() as told:
        answer = await api.request(method, path, **options)
    body = re.sub("|".join(map(re.escape, sorted(hidden))), "<id>", answer.text)
    headers = [(name, value) for name, value in answer.headers.items() if name not in HEADERS_OF_THE_MOMENT]
    return Asked(answer.status_code, headers, body, list(told))


@contextmanager
def statements() -> Iterator[list[str]]:
    """Note every statement that any engine of SQLAlchemy carries out, in the words of its dialect."""
    told: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        told.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def rows_of(database: Database, project_id: str) -> dict[str, list[Any]]:
    """Return all that is stored for a project, by table."""
    return await database.read(lambda tx: _rows(tx, project_id))


def _rows(tx: ReadTx, project_id: str) -> dict[str, list[Any]]:
    found = {}
    runs = Base.metadata.tables["runs"]
    of_project = select(runs.c.id).where(runs.c.project_id == project_id)
    for name, table in Base.metadata.tables.items():
        if name in NOBODYS:
            continue
        columns = [column for column in table.c if (name, column.name) not in OF_THE_MOMENT]
        if name == "projects":
            mine = table.c.id == project_id
        elif "project_id" in table.c:
            mine = table.c.project_id == project_id
        else:
            mine = table.c.run_id.in_(of_project)
        found[name] = sorted((tuple(row) for row in tx.all(select(*columns).where(mine))), key=str)
    return found
