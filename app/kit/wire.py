"""Base Structs and bounds of the wire types. `UNSET` is "not sent", `None` is "set to null"."""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

T = TypeVar("T")


class Body(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a client sends: unknown fields are refused, as the original refused them."""


class Answer(Struct, kw_only=True, frozen=True):
    """What a client receives: nulls are kept, since clients expect them."""


class Foreign(Struct, kw_only=True, frozen=True):
    """What another server sends: unknown fields are ignored."""


Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16, description="Up to 16 pairs; keys of at most 64 characters, values of at most 512."),
]
# What is kept in a column of its own: PostgreSQL's text takes every character but U+0000.
STORABLE = r"^[^\x00]*$"
MAX_INTEGER = 2**31 - 1
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]


def sent(value: T | UnsetType | None, default: T) -> T:
    """Return what was sent, or the default for a field that was left out or null."""
    return default if value is UNSET or value is None else value


def sent_fields(body: Struct) -> dict[str, Any]:
    """Return the fields that the client sent, nulls included."""
    values = ((name, getattr(body, name)) for name in body.__struct_fields__)
    return {name: value for name, value in values if value is not UNSET}


def to_json(value: object) -> str:
    """Encode a wire value as JSON text, for a column."""
    return msgspec.json.encode(value).decode()
