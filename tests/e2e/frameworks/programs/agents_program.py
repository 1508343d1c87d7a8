"""OpenAI's Agents SDK on Responses: a tool by hand-over of answers, streamed, in a conversation, and a typed answer."""

import asyncio
import json
from typing import Any

from agents import Agent, OpenAIConversationsSession, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from pydantic import BaseModel

MODEL = "sovereign-standin"
ASKED = "What is the price of ACME?"


class Quote(BaseModel):
    """A typed answer."""

    name: str
    price: float


@function_tool
def get_price(symbol: str) -> str:
    """Look up the price of a share."""
    return "101.25"


async def main() -> None:
    """Talk, and print what was seen as JSON."""
    set_tracing_disabled(True)
    desk = Agent(name="desk", instructions="Be brief.", model=MODEL, tools=[get_price])
    typed = Agent(name="typed", model=MODEL, output_type=Quote)
    first = await Runner.run(desk, ASKED)
    seen: dict[str, Any] = {"tool": first.final_output}
    again = await Runner.run(desk, "say exactly: later", previous_response_id=first.last_response_id)
    seen["after a response"] = again.final_output
    streamed = Runner.run_streamed(desk, ASKED)
    seen["events"] = len([event async for event in streamed.stream_events()])
    seen["streamed"] = streamed.final_output
    session = OpenAIConversationsSession()
    await Runner.run(desk, ASKED, session=session)
    seen["in a session"] = (await Runner.run(desk, "say exactly: more", session=session)).final_output
    seen["items"] = [item.get("type") for item in await session.get_items()]
    await session.clear_session()
    async with AsyncOpenAI() as client:
        conversation = await client.conversations.create()
        await Runner.run(desk, ASKED, conversation_id=conversation.id)
        seen["conversation"] = [item.type async for item in client.conversations.items.list(conversation.id)]
    seen["typed"] = (await Runner.run(typed, "a quote as JSON")).final_output.model_dump()
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
