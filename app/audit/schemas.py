"""Records of the audit on the wire, and what can be asked of them."""

import re
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Row

from app.audit.chain import FIELDS, HASH_PATTERN, START, Entry, Fault, Link, Reason
from app.errors import InvalidRequest
from app.kit.wire import Answer

ID_PREFIX = "audit_"
_LINK = re.compile(rf"([0-9]{{1,18}}):({HASH_PATTERN})")
_CURSOR = re.compile(rf"{ID_PREFIX}([0-9]{{1,18}})")


class AuditRecord(Answer, kw_only=True, frozen=True):
    """What was done, or denied: when, by whom, from where, to what, and how it ended.

    `position` is its place in the chain and `hash` what seals it there with all records before it. `at` is in seconds
    since 1970. `times` is above 1 for the same denial seen several times within a second; `request_id` is then the
    first one's. Null is what was not known, such as whose key it was.
    """

    id: str
    object: Literal["audit.record"] = "audit.record"
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
    hash: str


class AuditFault(Answer, kw_only=True, frozen=True):
    """The first position whose record is not the one that was sealed there.

    `changed`: it does not have its hash. `missing`: there is none. `inserted`: there is one too many. `unreadable`:
    the database cannot read it. `cut_off`: the chain ends before the anchor. `rewritten`: another hash than the
    anchor's.
    """

    position: int
    reason: Reason


class AuditVerification(Answer, kw_only=True, frozen=True):
    """How far the chain was followed, and whether it is whole so far.

    `position` and `hash` are the last sound link. With `has_more` the answer is of a part: ask again with
    `after=<position>:<hash>`.
    """

    object: Literal["audit.verification"] = "audit.verification"
    valid: bool
    position: int
    hash: str
    fault: AuditFault | None
    has_more: bool


class RecordFilter(Struct, frozen=True, kw_only=True):
    """Which records: each field that is not None must be the record's; `since` <= at < `until`, seconds since 1970."""

    project_id: str | None = None
    key_id: str | None = None
    object_id: str | None = None
    action: str | None = None
    outcome: str | None = None
    since: int | None = None
    until: int | None = None


class Span(Struct, frozen=True, kw_only=True):
    """What of the chain to verify: what comes after a link, and that an anchor is on it."""

    after: Link | None = None
    anchor: Link | None = None


def record_of(row: Row[Any]) -> AuditRecord:
    """Return a record as clients receive it."""
    return AuditRecord(id=f"{ID_PREFIX}{row.position}", **row._asdict())


def entry_of(record: AuditRecord) -> Entry:
    """Return a record as it is hashed."""
    return Entry(**{name: getattr(record, name) for name in FIELDS})


def verification_of(sound: Link, fault: Fault | None = None, *, has_more: bool = False) -> AuditVerification:
    """Return what was found."""
    shown = None if fault is None else AuditFault(position=fault.position, reason=fault.reason)
    return AuditVerification(
        valid=fault is None, position=sound.position, hash=sound.hash, fault=shown, has_more=has_more
    )


def link_of(param: str, text: str) -> Link:
    """Read `POSITION:HASH`. Raises InvalidRequest."""
    found = _LINK.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"Invalid '{param}': '{text}'. Expected a position and a hash of 64 hexadecimal digits, as '17:9f86…'.",
            param=param,
            code="invalid_value",
        )
    return Link(int(found[1]), found[2]) if int(found[1]) else START


def position_of(param: str, cursor: str) -> int:
    """Read the position from a record's id. Raises InvalidRequest."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidRequest(
            f"Invalid '{param}': no object with id '{cursor}' found in this list.",
            param=param,
            code="invalid_value",
        )
    return int(found[1])
