"""A program written for OpenAI's Responses API: every method of it, and what came back as one JSON object.

Runs under SDK 2.x and 3.x with either kind of client. Imports the SDK, what comes with it, and the standard library
only, because it is also run by an interpreter that has nothing else. Judges nothing: test_responses_program.py does.
"""

import asyncio
import json
import sys
from typing import Any

import openai
from pydantic import BaseModel

from tests.e2e.programs.either_client import Noting, each, offered, opened, refused, settled, shown

RESOURCES = ("responses", "responses.input_items", "responses.input_tokens")
MODEL = "sovereign-standin"
TURNS = 10
SYMBOL = {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]}
PRICE: Any = {
    "type": "function",
    "name": "get_price",
    "description": "Gives a price.",
    "parameters": SYMBOL | {"additionalProperties": False},
    "strict": True,
}


class Quote(BaseModel):
    """What an answer is read into."""

    symbol: str
    price: float


def say(text: str) -> dict[str, Any]:
    """Return what has a text said to us."""
    return {"model": MODEL, "input": f"say exactly: {text}"}


async def program(client: Any) -> dict[str, Any]:
    """Do all of it with one client and return what was seen, part by part."""
    called: set[str] = set()
    api = Noting(client, called)
    room = api.responses
    seen: dict[str, Any] = {"version": openai.__version__}
    plain = await settled(room.create(**say("hello"), instructions="Be brief.", metadata={"a": "b"}))
    seen["plain"], seen["text"] = shown(plain), plain.output_text
    seen["retrieved"] = shown(await settled(room.retrieve(plain.id, include=["reasoning.encrypted_content"])))
    seen["input"] = [shown(item) async for item in each(room.input_items.list(plain.id))]
    seen["streamed"] = await streamed(room)
    seen["helped"] = await helped(room)
    parsed = await settled(room.parse(model=MODEL, input="A quote, please.", text_format=Quote))
    seen["parsed"] = [shown(parsed.output_parsed), type(parsed.output_parsed).__name__]
    seen["tools"] = {"chain": await tool_loop(api, None), "conversation": await tool_loop(api, {})}
    seen["background"] = await polled(room, await settled(room.create(**say("later"), background=True)))
    seen["resumed"] = await resumed(room)
    seen["cancelled"] = await cancelled(room)
    seen["turns"] = await turns(api)
    seen["forks"] = await forks(room)
    seen["unstored"] = await unstored(room)
    count = await settled(room.input_tokens.count(model=MODEL, input="one two", instructions="Be brief."))
    compact = await settled(room.compact(model=MODEL, input="one two", previous_response_id=plain.id))
    seen["input_tokens"], seen["compact"] = shown(count), shown(compact)
    seen["after_compact"] = (await settled(room.create(model=MODEL, input=sendable(compact)))).status
    seen["deleted"] = await settled(room.delete(plain.id))
    seen["gone"] = await refused(lambda: room.retrieve(plain.id))
    seen["unknown"] = await refused(lambda: room.create(**say("x"), previous_response_id="resp_nobodys"))
    seen["another_tool"] = await refused(lambda: room.create(**say("x"), tools=[{"type": "web_search"}]))
    seen["not_called"] = sorted(offered(client, RESOURCES) - called)
    return seen


def sendable(answer: Any) -> list[Any]:
    """Return the output of an answer as a program sends it back."""
    return [item.model_dump(exclude_none=True) for item in answer.output]


async def streamed(room: Any) -> dict[str, Any]:
    """Read a stream event by event."""
    events = [event async for event in each(await settled(room.create(**say("one two three"), stream=True)))]
    return {
        "events": [event.type for event in events],
        "numbers": [event.sequence_number for event in events],
        "text": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
        "last": shown(events[-1].response),
    }


async def helped(room: Any) -> dict[str, Any]:
    """Let the SDK's helper read streams: of text, of a call, and of what is read into a class."""
    seen: dict[str, Any] = {}
    asked: dict[str, dict[str, Any]] = {
        "text": say("one two three"),
        "call": {"model": MODEL, "input": "get_price of ACME", "tools": [PRICE]},
        "class": {"model": MODEL, "input": "A quote, please.", "text_format": Quote},
    }
    for name, request in asked.items():
        async with opened(room.stream(**request)) as stream:
            kinds = [event.type async for event in each(stream)]
            final = await settled(stream.get_final_response())
        # A dump of what was read into a class warns that it is not the plain type; its text says the same.
        output = [item.type for item in final.output]
        seen[name] = {"last": kinds[-1], "text": final.output_text, "output": output, "status": final.status}
        if name == "class":
            seen[name]["read"] = shown(final.output_parsed)
        if name == "call":
            seen[name]["arguments"] = final.output[0].arguments
    return seen


async def tool_loop(api: Any, conversation: dict[str, Any] | None) -> dict[str, Any]:
    """Ask, answer the calls, and ask again, after a predecessor or in a conversation."""
    context: dict[str, Any] = {}
    if conversation is not None:
        context = {"conversation": (await settled(api.conversations.create())).id}
    own = {"model": MODEL, "tools": [PRICE]}
    first = await settled(api.responses.create(**own, input="get_price of ACME", **context))
    calls = [item for item in first.output if item.type == "function_call"]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "101.25"} for call in calls]
    after = context or {"previous_response_id": first.id}
    second = await settled(api.responses.create(**own, input=outputs, **after))
    return {"calls": [json.loads(call.arguments) for call in calls], "text": second.output_text}


async def polled(room: Any, response: Any) -> dict[str, Any]:
    """Ask until a response has ended, as programs do."""
    statuses = [response.status]
    while response.status in ("queued", "in_progress"):
        await asyncio.sleep(0.02)
        response = await settled(room.retrieve(response.id))
        statuses.append(response.status)
    return {"statuses": statuses, "text": response.output_text}


async def resumed(room: Any) -> dict[str, Any]:
    """Leave a stream in its middle and go on where it was left, in both ways that the SDK has."""
    begun: list[Any] = []
    async with opened(await settled(room.create(**say("a b c d e f"), background=True, stream=True))) as stream:
        async for event in each(stream):
            begun.append(event)
            if len(begun) == 7:
                break
    response_id, number = begun[0].response.id, begun[-1].sequence_number
    rest = [e async for e in each(await settled(room.retrieve(response_id, stream=True, starting_after=number)))]
    deltas = [event.delta for event in [*begun, *rest] if event.type == "response.output_text.delta"]
    async with opened(room.stream(response_id=response_id)) as again:
        final = (await settled(again.get_final_response())).output_text
    numbers = [event.sequence_number for event in [*begun, *rest]]
    return {"numbers": numbers, "text": "".join(deltas), "last": rest[-1].type, "final": final}


async def cancelled(room: Any) -> dict[str, Any]:
    """Stop a response of the background, twice."""
    response = await settled(room.create(model=MODEL, input="repeat 1000000 words", background=True))
    answers = [await settled(room.cancel(response.id)) for _ in range(2)]
    return {"statuses": [answer.status for answer in answers]}


async def turns(api: Any) -> dict[str, Any]:
    """Say ten things in one conversation."""
    conversation = (await settled(api.conversations.create())).id
    texts = [
        (await settled(api.responses.create(**say(str(n)), conversation=conversation))).output_text
        for n in range(TURNS)
    ]
    items = [item async for item in each(api.conversations.items.list(conversation, order="asc", limit=5))]
    return {"texts": texts, "items": [item.content[0].text for item in items]}


async def forks(room: Any) -> list[str]:
    """Go on twice from one response."""
    root = await settled(room.create(**say("root")))
    left = await settled(room.create(**say("left"), previous_response_id=root.id))
    right = await settled(room.create(**say("right"), previous_response_id=root.id))
    deeper = await settled(room.create(**say("deeper"), previous_response_id=left.id))
    return [answer.output_text for answer in (root, left, right, deeper)]


async def unstored(room: Any) -> dict[str, Any]:
    """Keep nothing on the server: the program sends back what was said."""
    first = await settled(room.create(model=MODEL, input="get_price of ACME", tools=[PRICE], store=False))
    outputs = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "7"}
        for item in first.output
        if item.type == "function_call"
    ]
    said = [{"role": "user", "content": "get_price of ACME"}, *sendable(first), *outputs]
    second = await settled(room.create(model=MODEL, input=said, tools=[PRICE], store=False))
    return {"text": second.output_text, "gone": await refused(lambda: room.retrieve(second.id))}


async def main(kind: str) -> None:
    """Run with the client that the environment configures, as every OpenAI program may be."""
    make = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}[kind]
    # Strict: an answer that is not of the SDK's own types is an error.
    client = make(max_retries=0, timeout=20, _strict_response_validation=True)
    async with opened(client):
        print(json.dumps(await program(client)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
