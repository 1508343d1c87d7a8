"""A program written for OpenAI's Conversations API: every method of it, and what came back as one JSON object.

Runs under SDK 2.x and 3.x with either kind of client. Imports the SDK and the standard library only, because it is
also run by an interpreter that has nothing else. Judges nothing: test_conversations_program.py does.
"""

import asyncio
import json
import sys
from typing import Any

import openai

from tests.e2e.programs.either_client import Noting, each, offered, opened, refused, settled, shown

RESOURCES = ("conversations", "conversations.items")
MANY = 45
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"role": "user", "content": "what does ACME cost?"},
    {"type": "function_call", "call_id": "call_1", "name": "get_price", "arguments": '{"symbol":"ACME"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "101.25"},
    {"role": "assistant", "content": "101.25 dollars"},
]


async def program(client: Any) -> dict[str, Any]:
    """Do all of it with one client and return what was seen, part by part."""
    called: set[str] = set()
    api = Noting(client, called).conversations
    seen: dict[str, Any] = {"version": openai.__version__}
    bare = await settled(api.create())
    made = await settled(api.create(items=ITEMS, metadata={"desk": "metals"}))
    seen["bare"], seen["made"] = shown(bare), shown(made)
    seen["retrieved"] = shown(await settled(api.retrieve(made.id)))
    seen["updated"] = shown(await settled(api.update(made.id, metadata={"desk": "energy"})))
    seen["items"] = [shown(item) async for item in each(api.items.list(made.id, order="asc"))]
    one = seen["items"][2]["id"]
    include = ["message.output_text.logprobs"]
    seen["item"] = shown(await settled(api.items.retrieve(one, conversation_id=made.id, include=include)))
    seen["after_deletion"] = shown(await settled(api.items.delete(one, conversation_id=made.id)))
    seen["sent_back"] = shown(await settled(api.items.create(bare.id, items=seen["items"])))
    seen["paged"] = await paged(api)
    seen["unknown"] = await refused(lambda: api.items.retrieve("msg_1", conversation_id=made.id))
    seen["wrong"] = await refused(lambda: api.items.create(made.id, items=[{"type": "computer_call"}]))
    seen["deleted"] = shown(await settled(api.delete(made.id)))
    seen["gone"] = await refused(lambda: api.retrieve(made.id))
    seen["not_called"] = sorted(offered(client, RESOURCES) - called)
    return seen


async def paged(api: Any) -> dict[str, list[str]]:
    """Fill a conversation, and let the SDK page through it both ways."""
    conversation = (await settled(api.create())).id
    for first in range(0, MANY, 20):
        numbers = range(first, min(first + 20, MANY))
        await settled(api.items.create(conversation, items=[{"role": "user", "content": str(n)} for n in numbers]))
    return {
        "newest first": [text async for text in texts(api.items.list(conversation))],
        "oldest first": [text async for text in texts(api.items.list(conversation, order="asc", limit=7))],
    }


async def texts(items: Any) -> Any:
    """Give the text of each message, whatever pages it takes."""
    async for item in each(items):
        yield item.content[0].text


async def main(kind: str) -> None:
    """Run with the client that the environment configures, as every OpenAI program may be."""
    make = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}[kind]
    # Strict: an answer that is not of the SDK's own types is an error.
    client = make(max_retries=0, timeout=20, _strict_response_validation=True)
    async with opened(client):
        print(json.dumps(await program(client)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
