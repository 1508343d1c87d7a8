"""The hash chain. Pure: what a record's hash is, and where a row of the chain is not what was sealed.

hash(n) = SHA-256(hash(n - 1) + the record as JSON), hash(0) = 32 zero bytes. Positions rise by one from 1, so that a
row that was changed, taken out or put in breaks the chain at its own position.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from app.errors import Unavailable

HASH_PATTERN = "[0-9a-f]{64}"
Reason = Literal["changed", "missing", "inserted", "unreadable", "cut_off", "rewritten"]


class Entry(Struct, frozen=True, kw_only=True):
    """A record as it is hashed: these fields in this order, as compact JSON in UTF-8."""

    position: int
    at: int
    request_id: str | None
    key_id: str | None
    project_id: str | None
    address: str | None
    action: str
    object_id: str | None
    outcome: str
    times: int


FIELDS = Entry.__struct_fields__


class Link(Struct, frozen=True):
    """A position and the hash there: it stands for all records up to it."""

    position: int
    hash: str


START = Link(0, "0" * 64)


class ChainBroken(Unavailable):
    """The newest link is none that this program wrote: nothing can be appended to it."""

    def __init__(self) -> None:
        super().__init__("The audit chain cannot be continued: its newest record was tampered with.")


class Fault(Struct, frozen=True):
    """The first position where the chain is not what was sealed."""

    position: int
    reason: Reason


def hash_of(previous: str, entry: Entry) -> str:
    """Return the hash of a record that follows on `previous`."""
    return hashlib.sha256(bytes.fromhex(previous) + msgspec.json.encode(entry)).hexdigest()


def sealed(link: Link, records: Iterable[Sequence[Any]]) -> list[Link]:
    """Return the links that records get after `link`; a record is its fields but for the position, in their order.

    Raises ChainBroken.
    """
    if type(link.position) is not int or not re.fullmatch(HASH_PATTERN, str(link.hash)):
        raise ChainBroken
    links = []
    for fields in records:
        entry = Entry(**dict(zip(FIELDS, (link.position + 1, *fields), strict=True)))
        link = Link(entry.position, hash_of(link.hash, entry))
        links.append(link)
    return links


def follow(link: Link, rows: Iterable[Sequence[Any]]) -> tuple[Link, Fault | None]:
    """Go on from a link along rows: the fields in their order, then the hash. Return the last sound link and the fault.

    Unless the link is START, its own row comes first.
    """
    remaining = iter(rows)
    if link.position:
        fault = _own_fault(link, next(remaining, None))
        if fault is not None:
            return START, fault
    for row in remaining:
        fault = _fault(link, row)
        if fault is not None:
            return link, fault
        link = Link(row[0], row[-1])
    return link, None


def _own_fault(link: Link, row: Sequence[Any] | None) -> Fault | None:
    if row is None or row[0] != link.position:
        return Fault(link.position, "missing")
    return None if row[-1] == link.hash else Fault(link.position, "rewritten")


def _fault(link: Link, row: Sequence[Any]) -> Fault | None:
    *fields, stored = row
    expected, position = link.position + 1, fields[0]
    if type(position) is not int:  # SQLite keeps anything in any column
        return Fault(expected, "inserted")
    if position != expected:
        return Fault(expected, "missing") if position > expected else Fault(position, "inserted")
    try:
        entry = msgspec.convert(dict(zip(FIELDS, fields, strict=True)), Entry)
    except msgspec.ValidationError:
        return Fault(expected, "changed")
    return None if hash_of(link.hash, entry) == stored else Fault(expected, "changed")
