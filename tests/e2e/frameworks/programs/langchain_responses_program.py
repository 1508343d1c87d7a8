"""LangChain's ChatOpenAI on Responses: an agent with a tool, a stream, answers chained by id, a typed answer."""

import json
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

MODEL = "sovereign-standin"


class Quote(BaseModel):
    """A typed answer."""

    name: str
    price: float


def get_price(symbol: str) -> str:
    """Look up the price of a share."""
    return "101.25"


def main() -> None:
    """Talk, and print what was seen as JSON."""
    model = ChatOpenAI(model=MODEL, use_responses_api=True)
    done = create_agent(model, tools=[get_price]).invoke(
        {"messages": [{"role": "user", "content": "What is the price of ACME?"}]}
    )
    seen: dict[str, Any] = {"tool": done["messages"][-1].text, "messages": [one.type for one in done["messages"]]}
    seen["streamed"] = "".join(piece.text for piece in model.stream("say exactly: gold rose today"))
    chained = ChatOpenAI(model=MODEL, use_responses_api=True, use_previous_response_id=True)
    one = chained.invoke("say exactly: one")
    two = chained.invoke([HumanMessage("say exactly: one"), one, HumanMessage("What did I say?")])
    seen["after a response"] = two.text
    seen["typed"] = model.with_structured_output(Quote).invoke("a quote as JSON").model_dump()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
