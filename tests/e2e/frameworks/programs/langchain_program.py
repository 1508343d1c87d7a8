"""LangChain's OpenAIAssistantRunnable, in a way that the command line names.

It polls; it does not stream text. Its ainvoke cannot read any server's answer: 1.0.8 iterates over the SDK's
asynchronous page as if it were a synchronous one.
"""

from typing import Any

from langchain_classic.agents import AgentExecutor
from langchain_classic.agents.openai_assistant import OpenAIAssistantRunnable
from langchain_core.agents import AgentFinish
from langchain_core.tools import tool

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


@tool(description=OF_PRICE)
def get_price(symbol: str) -> str:
    """Look up a price."""
    return price_of(symbol)


@tool(description=OF_VOLUME)
def get_volume(symbol: str) -> str:
    """Count trades."""
    return volume_of(symbol)


TOOLS = [get_price, get_volume]
ASSISTANT: dict[str, Any] = {
    "name": NAME,
    "instructions": INSTRUCTIONS,
    "model": MODEL,
    "tools": TOOLS,
    "as_agent": True,
    "check_every_ms": 20,
}


def by_executor() -> dict[str, Any]:
    """Leave the calls to LangChain's own executor."""
    agent = OpenAIAssistantRunnable.create_assistant(**ASSISTANT)
    executor = AgentExecutor(agent=agent, tools=TOOLS, return_intermediate_steps=True)
    first = executor.invoke({"content": QUESTION})
    second = executor.invoke({"content": THANKS, "thread_id": first["thread_id"]})
    return {
        "thread_id": first["thread_id"],
        "calls": [[step.tool, step.tool_input, output] for step, output in first["intermediate_steps"]],
        "answer": first["output"],
        "second": second["output"],
    }


def by_hand() -> dict[str, Any]:
    """Execute the calls as LangChain's documentation shows."""
    agent = OpenAIAssistantRunnable.create_assistant(**ASSISTANT)
    calls: list[Any] = []
    response = agent.invoke({"content": QUESTION})
    while not isinstance(response, AgentFinish):
        outputs = []
        for action in response:
            output = {called.name: called for called in TOOLS}[action.tool].invoke(action.tool_input)
            calls.append([action.tool, action.tool_input, output])
            outputs.append({"output": output, "tool_call_id": action.tool_call_id})
        response = agent.invoke({"tool_outputs": outputs, "run_id": action.run_id, "thread_id": action.thread_id})
    second = agent.invoke({"content": THANKS, "thread_id": response.thread_id})
    return {
        "thread_id": response.thread_id,
        "calls": calls,
        "answer": response.return_values["output"],
        "second": second.return_values["output"],
    }


if __name__ == "__main__":
    tell("langchain-classic", {"executor": by_executor, "by hand": by_hand})
