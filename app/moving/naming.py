"""What a line is called where its own id is taken. Pure: a repeated import finds what the first one made."""

from collections.abc import Iterator
from hashlib import sha256

from app.kit.ids import SUFFIX_LENGTH, TIME_DIGITS, base62

OTHERS = 8
"""So many ids are tried for one object before its line is refused."""


def names(project_id: str, object_id: str) -> Iterator[str]:
    """Yield an object's own id, then those that it may have in a project where another has that.

    They depend on the suffix alone, so that what has two names (`run_x` is `resp_x`) goes on having two.
    """
    yield object_id
    for number in range(1, OTHERS + 1):
        yield renamed(project_id, object_id, number)


def renamed(project_id: str, object_id: str, number: int = 1) -> str:
    """Return the id that an object gets in a project when as many others of its ids are taken."""
    prefix, _, suffix = object_id.partition("_")
    digest = sha256(f"{project_id} {suffix} {number}".encode()).digest()
    # The beginning stays: ours begin with their time, and sort by it.
    begin = suffix[:TIME_DIGITS] if len(suffix) == SUFFIX_LENGTH and suffix.isalnum() and suffix.isascii() else ""
    digits = SUFFIX_LENGTH - len(begin)
    return f"{prefix}_{begin}{base62(int.from_bytes(digest) % 62**digits, digits)}"
