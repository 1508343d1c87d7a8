"""The part of the program that runs assistants: polled, streamed in each way that the SDK has, and raw."""

from collections.abc import Callable
from typing import Any

import openai

from tests.e2e.programs.either_client import each, opened, settled, shown, words
from tests.e2e.programs.plain_calls import MODEL

POLL_MS = 20
CALLBACKS = tuple(name for name in dir(openai.AssistantEventHandler) if name.startswith("on_"))
NO_WISHES: dict[str, Any] = {
    "instructions": None,
    "max_completion_tokens": None,
    "max_prompt_tokens": None,
    "metadata": None,
    "model": None,
    "response_format": None,
    "temperature": None,
    "tool_choice": None,
    "tools": None,
    "top_p": None,
    "truncation_strategy": None,
}
WISHES: dict[str, Any] = {
    "instructions": "Be long.",
    "max_completion_tokens": 1000,
    "max_prompt_tokens": 1000,
    "metadata": {"k": "v"},
    "model": MODEL,
    "parallel_tool_calls": False,
    "response_format": "auto",
    "temperature": 0,
    "tool_choice": "none",
    "tools": [],
    "top_p": 1,
    "truncation_strategy": {"type": "last_messages", "last_messages": 3},
}


def say(text: str) -> list[dict[str, str]]:
    """Make the messages that have a text said to us."""
    return [{"role": "user", "content": f"say exactly: {text}"}]


async def runs(api: Any, assistant_id: str) -> dict[str, Any]:
    """Use every method of runs and steps that neither streams nor calls tools."""
    room = api.beta.threads.runs
    thread_id = (await settled(api.beta.threads.create(messages=say("one")))).id
    own = {"thread_id": thread_id, "poll_interval_ms": POLL_MS}
    bare = await settled(
        room.create(
            thread_id,
            assistant_id=assistant_id,
            additional_instructions=None,
            additional_messages=None,
            reasoning_effort=None,
            stream=None,
            **NO_WISHES,
        )
    )
    polled = await settled(room.poll(bare.id, **own))
    full = await settled(
        room.create_and_poll(
            assistant_id=assistant_id,
            additional_instructions="Or not.",
            additional_messages=say("two"),
            **WISHES,
            **own,
        )
    )
    steps = [step async for step in each(room.steps.list(full.id, thread_id=thread_id))]
    return {
        "bare": shown(bare),
        "polled": shown(polled),
        "full": shown(full),
        "retrieved": shown(await settled(room.retrieve(full.id, thread_id=thread_id))),
        "updated": shown(await settled(room.update(full.id, thread_id=thread_id, metadata={"k": "w"}))),
        "listed": [run.id async for run in each(room.list(thread_id, limit=1))],
        "steps": [shown(step) for step in steps],
        "step": shown(await settled(room.steps.retrieve(steps[0].id, thread_id=thread_id, run_id=full.id))),
        "said": [words(message) async for message in each(api.beta.threads.messages.list(thread_id, order="asc"))],
        "said_in_run": [
            words(message) async for message in each(api.beta.threads.messages.list(thread_id, run_id=full.id))
        ],
    }


async def threads_with_runs(api: Any, assistant_id: str) -> dict[str, Any]:
    """Use the methods that create a thread and run it at once."""
    room, given = api.beta.threads, {"assistant_id": assistant_id}
    run = await settled(room.create_and_run(**given, thread=None, tool_resources=None, **NO_WISHES))
    polled = await settled(room.create_and_run_poll(**given, thread={"messages": say("x")}, poll_interval_ms=POLL_MS))
    streamed = await settled(room.create_and_run(**given, thread={"messages": say("one two")}, stream=True))
    return {
        "run": shown(run),
        "polled": shown(polled),
        "said": [words(message) async for message in each(room.messages.list(polled.thread_id))],
        "events": [event.event async for event in each(streamed)],
        "handled": await handled(room.create_and_run_stream, **given, thread={"messages": say("three four")}),
    }


async def streams(api: Any, assistant_id: str) -> dict[str, Any]:
    """Stream runs in each way that the SDK has."""
    room, thread_id = api.beta.threads.runs, (await settled(api.beta.threads.create(messages=say("a b c")))).id
    given = {"thread_id": thread_id, "assistant_id": assistant_id}
    iterated = [shown(event) async for event in each(await settled(room.create(**given, stream=True)))]
    async with opened(room.stream(**given)) as stream:
        deltas = [text async for text in each(stream.text_deltas)]
    async with opened(room.create_and_stream(**given)) as stream:
        named = [event.event async for event in each(stream)]
    return {"iterated": iterated, "deltas": deltas, "named": named, "handled": await handled(room.stream, **given)}


async def handled(start: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """Stream with an event handler that overrides every callback."""
    told: list[list[Any]] = []
    asynchronous = "Async" in type(start.__self__).__name__  # type: ignore[attr-defined]  # a bound method
    base = openai.AsyncAssistantEventHandler if asynchronous else openai.AssistantEventHandler

    def noting(name: str) -> Callable[..., Any]:
        def note(_: Any, *given: Any) -> None:
            told.append([name, *(shown(item) if hasattr(item, "model_dump") else repr(item) for item in given)])

        async def note_too(_: Any, *given: Any) -> None:
            note(_, *given)

        return note_too if asynchronous else note

    handler = type("Handler", (base,), {name: noting(name) for name in CALLBACKS})()
    async with opened(start(**given, event_handler=handler)) as stream:
        await settled(stream.until_done())
        run, said = await settled(stream.get_final_run()), await settled(stream.get_final_messages())
        steps = await settled(stream.get_final_run_steps())
    return {"told": told, "run": shown(run), "said": [words(m) for m in said], "steps": [shown(s) for s in steps]}


async def raw(api: Any, assistant_id: str) -> dict[str, Any]:
    """Use the two ways past the parsed answer, on calls that stream and on calls that do not."""
    room, thread_id = api.beta.threads, (await settled(api.beta.threads.create(messages=say("a b c")))).id
    given = {"thread_id": thread_id, "assistant_id": assistant_id, "stream": True}
    whole = await settled(room.with_raw_response.retrieve(thread_id))
    events = (await settled(room.runs.with_raw_response.create(**given))).parse()
    named = [event.event async for event in each(events)]
    async with opened(room.with_streaming_response.retrieve(thread_id)) as answer:
        streamed = shown(await settled(answer.parse()))
    async with opened(room.runs.with_streaming_response.create(**given)) as answer:
        lines = [line async for line in each(answer.iter_lines())]
    return {
        "status": whole.status_code,
        "headers": dict(whole.headers),
        "request_id": whole.request_id,
        "parsed": shown(whole.parse()),
        "streamed": streamed,
        "named": named,
        "lines": lines,
        "id_of_answer": (await settled(room.retrieve(thread_id)))._request_id,
    }
