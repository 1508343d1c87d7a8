"""Pydantic AI on Responses: an agent with a tool, its history sent whole and by id, a stream, a typed answer."""

import asyncio
import json
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIResponsesModel

MODEL = "sovereign-standin"
ASKED = "What is the price of ACME?"


class Quote(BaseModel):
    """A typed answer."""

    name: str
    price: float


def get_price(symbol: str) -> str:
    """Look up the price of a share."""
    return "101.25"


async def main() -> None:
    """Talk, and print what was seen as JSON."""
    model = OpenAIResponsesModel(MODEL)
    desk = Agent(model, instructions="Be brief.", tools=[get_price])
    first = await desk.run(ASKED)
    seen: dict[str, Any] = {"tool": first.output}
    seen["history"] = (await desk.run("say exactly: more", message_history=first.all_messages())).output
    by_id: Any = {"openai_previous_response_id": "auto"}
    later = await desk.run("say exactly: later", message_history=first.all_messages(), model_settings=by_id)
    seen["after a response"] = later.output
    async with desk.run_stream(ASKED) as streamed:
        seen["streamed"] = [text async for text in streamed.stream_text()][-1]
    seen["typed"] = (await Agent(model, output_type=NativeOutput(Quote)).run("a quote as JSON")).output.model_dump()
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
