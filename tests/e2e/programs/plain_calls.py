"""The part of the program that starts no run: assistants, threads, messages, models, and mistakes of every class."""

from typing import Any

from tests.e2e.programs.either_client import each, refused, settled, shown, words

MODEL = "gpt-4o"
MANY = 105
NO_WISHES: dict[str, Any] = {
    "name": None,
    "description": None,
    "instructions": None,
    "metadata": None,
    "temperature": None,
    "top_p": None,
    "tool_resources": None,
    "response_format": None,
    "reasoning_effort": None,
}


async def assistants(api: Any) -> dict[str, Any]:
    """Use every method of assistants; keep one for the others."""
    room = api.beta.assistants
    bare = await settled(room.create(model=MODEL, **NO_WISHES))
    full = await settled(
        room.create(
            model=MODEL,
            name="Desk",
            description="Answers the trading desk.",
            instructions="Be brief.",
            tools=[{"type": "function", "function": {"name": "quote", "parameters": {"type": "object"}}}],
            metadata={"desk": "metals"},
            temperature=0.5,
            top_p=0.25,
            response_format={"type": "text"},
        )
    )
    made = [(await settled(room.create(model=MODEL, name=f"number {n}"))).id for n in range(MANY)]
    paged = [item.id async for item in each(room.list(order="asc", limit=50, after=full.id))]
    newest = await settled(room.list(limit=1))
    return {
        "bare": shown(bare),
        "full": shown(full),
        "retrieved": shown(await settled(room.retrieve(full.id))),
        "updated": shown(await settled(room.update(full.id, name="Metals desk", description=None, metadata={}))),
        "made": made,
        "paged": paged,
        "newest": shown(newest),
        "deleted": [shown(await settled(room.delete(made_id))) for made_id in made[:2]],
    }


async def threads(api: Any) -> dict[str, Any]:
    """Use every method of threads that starts no run."""
    room = api.beta.threads
    bare = await settled(room.create(messages=[], metadata=None, tool_resources=None))
    opening = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two", "metadata": {"n": "2"}}]
    full = await settled(room.create(messages=opening, metadata={"book": "gold"}))
    return {
        "bare": shown(bare),
        "full": shown(full),
        "messages": [words(message) async for message in each(room.messages.list(full.id, order="asc"))],
        "retrieved": shown(await settled(room.retrieve(full.id))),
        "updated": shown(await settled(room.update(full.id, metadata={"book": "silver"}, tool_resources=None))),
        "emptied": shown(await settled(room.update(full.id, metadata=None))),
        "deleted": shown(await settled(room.delete(full.id))),
    }


async def messages(api: Any) -> dict[str, Any]:
    """Use every method of messages, and page through many of them in every direction."""
    room, thread_id = api.beta.threads.messages, (await settled(api.beta.threads.create())).id
    parts = [{"type": "text", "text": "first part"}, {"type": "text", "text": "second part"}]
    attached = [{"file_id": "file-abc123", "tools": [{"type": "file_search"}]}]
    bare = await settled(room.create(thread_id, role="user", content="bare", attachments=None, metadata=None))
    full = await settled(
        room.create(thread_id, role="assistant", content=parts, attachments=attached, metadata={"a": "b"})
    )
    seen = {
        "bare": shown(bare),
        "full": shown(full),
        "retrieved": shown(await settled(room.retrieve(full.id, thread_id=thread_id))),
        "updated": shown(await settled(room.update(full.id, thread_id=thread_id, metadata={"c": "d"}))),
        "emptied": shown(await settled(room.update(full.id, thread_id=thread_id, metadata=None))),
        "deleted": shown(await settled(room.delete(bare.id, thread_id=thread_id))),
        "left": [message.id async for message in each(room.list(thread_id))],
    }
    lines = [{"role": "user", "content": str(n)} for n in range(MANY)]
    long_id = (await settled(api.beta.threads.create(messages=lines))).id
    oldest_first = [message async for message in each(room.list(long_id, order="asc", limit=50))]
    middle = oldest_first[60].id
    return seen | {
        "oldest_first": [words(message) for message in oldest_first],
        "newest_first": [words(message) async for message in each(room.list(long_id, limit=100))],
        "after_60": [words(message) async for message in each(room.list(long_id, order="asc", limit=30, after=middle))],
        "back_from_60": [
            words(m) for m in (await settled(room.list(long_id, order="asc", limit=30, before=middle))).data
        ],
        "all_back_from_60": await paged_back(room, long_id, middle),
        "defaults": [words(message) for message in (await settled(room.list(long_id))).data],
    }


async def paged_back(room: Any, thread_id: str, before: str) -> list[list[str]]:
    """Walk backwards a page at a time, as a program does that shows older messages on demand."""
    pages = []
    while True:
        page = await settled(room.list(thread_id, order="asc", limit=20, before=before))
        pages.append([words(message) for message in page.data])
        if not page.has_more:
            return pages
        before = page.data[0].id


async def refusals(api: Any, client: Any, assistant_id: str) -> dict[str, Any]:
    """Make mistakes of every class."""
    room, stranger = api.beta.threads, client.with_options(api_key="sk-not-the-right-key")
    thread_id, unknown = (await settled(room.create())).id, "0" * 24
    run = {"thread_id": thread_id, "assistant_id": f"asst_{unknown}"}
    return {
        "no assistant": await refused(lambda: api.beta.assistants.retrieve(f"asst_{unknown}")),
        "no thread": await refused(lambda: room.retrieve(f"thread_{unknown}")),
        "no message": await refused(lambda: room.messages.retrieve(f"msg_{unknown}", thread_id=thread_id)),
        "no run": await refused(lambda: room.runs.retrieve(f"run_{unknown}", thread_id=thread_id)),
        "no assistant for a run": await refused(lambda: room.runs.create(**run)),
        "no assistant for a stream": await refused(lambda: room.runs.create(**run, stream=True)),
        "not an id": await refused(lambda: room.retrieve("undefined")),
        "limit": await refused(lambda: api.beta.assistants.list(limit=101)),
        "cursor": await refused(lambda: room.messages.list(thread_id, after=f"msg_{unknown}")),
        "temperature": await refused(lambda: api.beta.assistants.create(model=MODEL, temperature=3)),
        "unknown field": await refused(lambda: room.create(extra_body={"colour": "red"})),
        "no model": await refused(lambda: api.models.retrieve("no-such-model")),
        "key": await refused(lambda: stranger.beta.threads.retrieve(thread_id)),
        "deleted": await deleted_meanwhile(room, thread_id),
    }


async def deleted_meanwhile(room: Any, thread_id: str) -> dict[str, Any]:
    """Delete a thread and ask for it again."""
    await settled(room.delete(thread_id))
    return await refused(lambda: room.retrieve(thread_id))


async def models(api: Any) -> dict[str, Any]:
    """List the models and retrieve one by the name that the program uses."""
    return {
        "listed": [model.id async for model in each(api.models.list())],
        "retrieved": shown(await settled(api.models.retrieve(MODEL))),
    }
