"""Semantic Kernel's OpenAIAssistantAgent, in a way that the command line names: polled, or streamed throughout."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from semantic_kernel.agents import AssistantAgentThread, OpenAIAssistantAgent
from semantic_kernel.agents.open_ai.run_polling_options import RunPollingOptions
from semantic_kernel.contents import FunctionCallContent, FunctionResultContent
from semantic_kernel.functions import kernel_function

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

POLL_EVERY = timedelta(milliseconds=20)


class Market:
    """The plugin whose functions the agent is offered, as `Market-get_price` and `Market-get_volume`."""

    @kernel_function(description=OF_PRICE)
    def get_price(self, symbol: str) -> str:
        """Look up a price."""
        return price_of(symbol)

    @kernel_function(description=OF_VOLUME)
    def get_volume(self, symbol: str) -> str:
        """Count trades."""
        return volume_of(symbol)


class Noted:
    """The calls and their results, as the agent tells of them on the way."""

    def __init__(self) -> None:
        self._called: dict[str, list[Any]] = {}

    async def __call__(self, message: Any) -> None:
        """Take an intermediate message."""
        for item in message.items:
            if isinstance(item, FunctionCallContent):
                self._called[item.id] = [item.name, item.parse_arguments()]
            elif isinstance(item, FunctionResultContent):
                self._called[item.id].append(item.result)

    def calls(self) -> list[list[Any]]:
        """Give each call with its result."""
        return list(self._called.values())


@asynccontextmanager
async def opened() -> AsyncIterator[OpenAIAssistantAgent]:
    """Make the assistant and its agent, over the client that the environment configures."""
    async with OpenAIAssistantAgent.create_client(ai_model_id=MODEL) as client:
        definition = await client.beta.assistants.create(name=NAME, instructions=INSTRUCTIONS, model=MODEL)
        yield OpenAIAssistantAgent(
            client=client,
            definition=definition,
            plugins=[Market()],
            polling_options=RunPollingOptions(run_polling_interval=POLL_EVERY, run_polling_backoff=POLL_EVERY),
        )


async def conversation(pieces_of: Callable[..., Awaitable[list[str]]]) -> dict[str, Any]:
    """Ask and thank on one thread; then read the thread as the framework does."""
    async with opened() as agent:
        thread, noted = AssistantAgentThread(client=agent.client), Noted()
        first = await pieces_of(agent, QUESTION, thread, noted)
        second = await pieces_of(agent, THANKS, thread, noted)
        return {
            "thread_id": thread.id,
            "calls": noted.calls(),
            "answer": "".join(first),
            "pieces": [first, second],
            "second": "".join(second),
            "read": [message.content async for message in thread.get_messages(sort_order="asc")],
        }


async def polled(agent: OpenAIAssistantAgent, text: str, thread: AssistantAgentThread, noted: Noted) -> list[str]:
    """Wait for whole messages."""
    answers = agent.invoke(messages=text, thread=thread, on_intermediate_message=noted)
    return [answer.message.content async for answer in answers]


async def streamed(agent: OpenAIAssistantAgent, text: str, thread: AssistantAgentThread, noted: Noted) -> list[str]:
    """Take the text as it comes; the agent submits its outputs with a stream, too."""
    answers = agent.invoke_stream(messages=text, thread=thread, on_intermediate_message=noted)
    return [answer.message.content async for answer in answers]


def told_with(pieces_of: Callable[..., Awaitable[list[str]]]) -> Callable[[], dict[str, Any]]:
    """Make the way that takes the text so."""
    return lambda: asyncio.run(conversation(pieces_of))


if __name__ == "__main__":
    tell("semantic-kernel", {"polled": told_with(polled), "streamed": told_with(streamed)})
