"""Words and numbers of the user's message that fit a value by its name, so that made-up JSON looks wanted."""

import re
from collections.abc import Iterator

_CAPITALISED = re.compile(r"\b[A-Z][\w&-]*")
_SYMBOL = re.compile(r"\b[A-Z][A-Z0-9]{1,5}\b")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_EXCERPT_CHARS = 120

# Words that begin a request and name nothing.
_OPENERS = """
A An And Any Are Book Buy Call Can Check Could Do Does Fetch Find For From Get Give Has How I If In Is It List
Look Me My Now On Please Report Say Search Sell Set Should Show Tell Thanks The Then This Use Was What When
Where Which Who Why Will With Would You
"""
_SENTENCE_OPENERS = frozenset(_CAPITALISED.findall(_OPENERS))

_NAMED_BY_SYMBOL = ("symbol", "ticker")
_NAMED_BY_NAME = ("location", "city", "place", "country", "region", "company", "name", "title", "person")
_NAMED_BY_MESSAGE = (
    "query",
    "question",
    "text",
    "prompt",
    "message",
    "input",
    "expression",
    "search",
    "note",
)


class PromptWords:
    """The user's message as a source of values; numbers are handed out in the order they were written."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._numbers: Iterator[float] = (float(number) for number in _NUMBER.findall(message))

    def mentions(self, value: object) -> bool:
        """Say whether a value occurs in the message as words."""
        return re.search(rf"\b{re.escape(str(value))}\b", self._message, re.IGNORECASE) is not None

    def take_number(self) -> float | None:
        """Take the next number of the message."""
        return next(self._numbers, None)

    def find_string(self, name: str) -> str | None:
        """Find a text that suits a property of this name."""
        name = name.lower()
        if any(part in name for part in _NAMED_BY_SYMBOL):
            return self._find_symbol()
        if any(part in name for part in _NAMED_BY_NAME):
            return self._find_name()
        if any(part in name for part in _NAMED_BY_MESSAGE):
            return f"[stand-in] {self._message[:_EXCERPT_CHARS].strip()}".strip()
        return None

    def _find_symbol(self) -> str | None:
        symbols = [word for word in _SYMBOL.findall(self._message) if word.capitalize() not in _SENTENCE_OPENERS]
        return symbols[0] if symbols else self._find_name()

    def _find_name(self) -> str | None:
        words = _CAPITALISED.findall(self._message)
        return next((word for word in words if word.capitalize() not in _SENTENCE_OPENERS), None)
