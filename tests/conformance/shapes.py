"""The words in which the tables are written: each makes a JSON Schema. No object of the API is here."""

from collections.abc import Mapping, Sequence
from typing import Any

from .convert import NULL, Schema

PREFIXES = {
    "assistant": "asst_",
    "thread": "thread_",
    "thread.message": "msg_",
    "thread.run": "run_",
    "thread.run.step": "step_",
    "response": "resp_",
    "conversation": "conv_",
    "conversation.item": "(msg|fc|fco|rs)_",
}
# In milliseconds this would be a date 3,000 years ahead.
TIMESTAMP: Schema = {"type": "integer", "minimum": 1, "maximum": 99_999_999_999}
MAYBE_TIMESTAMP: Schema = {**TIMESTAMP, "type": ["integer", "null"]}
METADATA: Schema = {
    "type": ["object", "null"],
    "maxProperties": 16,
    "propertyNames": {"maxLength": 64},
    "additionalProperties": {"type": "string", "maxLength": 512},
}


def id_of(kind: str, *, nullable: bool = False) -> Schema:
    """Demand the prefix of a kind and 24 alphanumerics; clients parse ids."""
    return {
        "type": ["string", "null"] if nullable else "string",
        "pattern": f"^{PREFIXES[kind]}[A-Za-z0-9]{{24}}$",
    }


def shape(required: str, properties: Mapping[str, Schema], rules: Sequence[Schema] = ()) -> Schema:
    """Demand an object with these keys (words), these of them so typed, and these rules between them."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": dict(properties),
        "allOf": list(rules),
    }


def when(given: Mapping[str, Any], *, filled: str = "", null: str = "") -> Schema:
    """Demand that fields (words) be filled or null in the state where keys have the given values."""
    words = ", ".join(f"{key} is {value}" for key, value in given.items())
    present: Schema = {"not": NULL, "description": f"must not be null when {words}"}
    absent: Schema = {**NULL, "description": f"must be null when {words}"}
    fields = dict.fromkeys(filled.split(), present) | dict.fromkeys(null.split(), absent)
    state = {key: {"const": value} for key, value in given.items()}
    return {"if": {"properties": state, "required": list(state)}, "then": {"properties": fields}}
