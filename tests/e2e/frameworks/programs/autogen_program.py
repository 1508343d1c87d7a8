"""AutoGen's OpenAIAssistantAgent, in a way that the command line names. It polls, and streams what it does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from autogen_agentchat.base import Response
from autogen_agentchat.messages import TextMessage, ToolCallExecutionEvent, ToolCallRequestEvent
from autogen_core import CancellationToken
from autogen_core.tools import FunctionTool
from autogen_ext.agents.openai import OpenAIAssistantAgent
from openai import AsyncOpenAI

from tests.e2e.frameworks.programs.conversation import (
    INSTRUCTIONS,
    MODEL,
    NAME,
    OF_PRICE,
    OF_VOLUME,
    QUESTION,
    THANKS,
    price_of,
    tell,
    volume_of,
)


def get_price(symbol: str) -> str:
    """Look up a price."""
    return price_of(symbol)


def get_volume(symbol: str) -> str:
    """Count trades."""
    return volume_of(symbol)


def said(text: str) -> list[TextMessage]:
    """Make what a user says."""
    return [TextMessage(source="user", content=text)]


@asynccontextmanager
async def opened(**wishes: Any) -> AsyncIterator[OpenAIAssistantAgent]:
    """Make an agent over the client that the environment configures."""
    async with AsyncOpenAI() as client:
        yield OpenAIAssistantAgent(
            name=NAME,
            description=NAME,
            client=client,
            model=MODEL,
            instructions=INSTRUCTIONS,
            tools=[FunctionTool(get_price, description=OF_PRICE), FunctionTool(get_volume, description=OF_VOLUME)],
            **wishes,
        )


def calls_in(events: Any) -> list[list[Any]]:
    """Pair what was called with what it gave."""
    asked = [call for event in events if isinstance(event, ToolCallRequestEvent) for call in event.content]
    done = [result for event in events if isinstance(event, ToolCallExecutionEvent) for result in event.content]
    given = {result.call_id: result.content for result in done}
    return [[call.name, json.loads(call.arguments), given[call.id]] for call in asked]


async def waited() -> dict[str, Any]:
    """Wait for whole answers."""
    async with opened() as agent:
        first = await agent.on_messages(said(QUESTION), CancellationToken())
        second = await agent.on_messages(said(THANKS), CancellationToken())
        state = await agent.save_state()
        return seen(state["thread_id"], first, second, first.inner_messages)


async def followed() -> dict[str, Any]:
    """Follow what the agent does; then take the thread up again with a second agent, as after a restart."""
    async with opened() as agent:
        events = [event async for event in agent.on_messages_stream(said(QUESTION), CancellationToken())]
        state = await agent.save_state()
    known = {"assistant_id": state["assistant_id"], "thread_id": state["thread_id"]}
    async with opened(**known) as again:
        second = await again.on_messages(said(THANKS), CancellationToken())
    first = next(event for event in events if isinstance(event, Response))
    return seen(state["thread_id"], first, second, events)


def seen(thread_id: str, first: Response, second: Response, events: Any) -> dict[str, Any]:
    """Gather what the test judges."""
    return {
        "thread_id": thread_id,
        "calls": calls_in(events),
        "answer": first.chat_message.content,
        "second": second.chat_message.content,
    }


if __name__ == "__main__":
    tell("autogen-ext", {"waited": lambda: asyncio.run(waited()), "followed": lambda: asyncio.run(followed())})
