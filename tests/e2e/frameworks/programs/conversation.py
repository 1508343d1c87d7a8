"""The conversation that every framework has here: a question that needs two functions, and thanks on the same thread.

Standard library only: each program is run by an interpreter that has its framework and nothing else.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

MODEL = "gpt-4o"
NAME = "Desk"
INSTRUCTIONS = "Answer the trading desk."
QUESTION = "What are the price and the volume of ACME?"
THANKS = "Thank you both."
OF_PRICE = "Look up what an instrument costs."
OF_VOLUME = "Count how many were traded today."


def price_of(symbol: str) -> str:
    """Give what the one function answers with."""
    return {"ACME": "101.25"}[symbol]


def volume_of(symbol: str) -> str:
    """Give what the other function answers with."""
    return {"ACME": "3200"}[symbol]


def tell(package: str, ways: dict[str, Callable[[], dict[str, Any]]]) -> None:
    """Have the conversation in the way that the command line names, and print what the program saw of it."""
    seen = ways[sys.argv[1]]()
    print(json.dumps({"versions": [version(package), version("openai")], **seen}))
