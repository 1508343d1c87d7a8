"""Strings and numbers that keep a JSON schema's bounds; objects, arrays and unions are in json_answers."""

import math
import re
from typing import Any

from ops.standin.prompt_words import PromptWords
from ops.standin.wire import Schema

_FORMATS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT1H",
    "email": "trader@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TRIED_FOR_PATTERNS = (
    *(
        "AAPL",
        "AAPL-USD",
        "USD",
        "example",
        "Example",
        "a",
        "A",
        "1",
        "12",
        "123",
        "1234",
        "12345",
        "1.25",
        "A1",
    ),
    *("a1b2c3", "abc-123", "ABC-123", "ABC123", "example_name", "#a1b2c3", "555-0100", "10:30", "2026-01"),
    *("+14155550100", "v1.0.0", "1.0.0", *_FORMATS.values()),
)


def write_string(schema: Schema, name: str, words: PromptWords, ordinal: int) -> str:
    """Write a string for a property called `name`; `ordinal` tells items of one array apart."""
    if pattern := schema.get("pattern"):
        return _match_pattern(pattern, schema)
    if fixed := _FORMATS.get(schema.get("format", "")):
        return fixed
    text = words.find_string(name) or "example"
    if ordinal:
        text = f"{text} {ordinal + 1}"
    return _fit_length(text, schema)


def write_number(schema: Schema, words: PromptWords, ordinal: int, *, whole: bool) -> float:
    """Write a number: one that the user wrote where it fits, else the smallest that does, from 1 on."""
    step = schema.get("multipleOf", 1 if whole else None)
    low, high = _read_bounds(schema, step)
    asked = words.take_number()
    if asked is not None and low <= asked <= high and (step is None or _is_multiple(asked, step)):
        return _plain(asked, whole)
    value = _start(low, high, step) + ordinal * (step or 1)
    return _plain(min(value, high), whole)


def _start(low: float, high: float, step: float | None) -> float:
    start = min(max(low, 1.0), high)
    if step is None:
        return start
    above = math.ceil(start / step) * step
    return above if above <= high else math.floor(high / step) * step


def _read_bounds(schema: Schema, step: float | None) -> tuple[float, float]:
    """Read the inclusive bounds; an exclusive one is moved inside by a step or a part of the range."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    width = min(high, below) - max(low, above)
    margin = step or (width / 4 if math.isfinite(width) else 1.0)
    return max(low, above + margin), min(high, below - margin)


def _is_multiple(value: float, step: float) -> bool:
    return math.isclose(value / step, round(value / step), abs_tol=1e-9)


def _plain(value: float, whole: bool) -> float:
    return int(value) if whole or value == int(value) else round(value, 10)


def _match_pattern(pattern: str, schema: Schema) -> str:
    """Take the first known text that a pattern admits; patterns are not inverted."""
    for text in _TRIED_FOR_PATTERNS:
        if _has_length(text, schema) and re.search(pattern, text):
            return text
    return _fit_length("example", schema)


def _has_length(text: str, schema: Schema) -> bool:
    return bool(schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", math.inf))


def _fit_length(text: str, schema: Schema) -> str:
    least: int = schema.get("minLength", 0)
    most: Any = schema.get("maxLength")
    return text.ljust(least, "x")[:most]
