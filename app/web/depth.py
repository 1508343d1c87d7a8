"""How deep a JSON text is nested, told before anything parses it: C does the work, a byte costs a nanosecond or so."""

from array import array
from itertools import accumulate

from app.errors import InvalidRequest

BRACKETS = b"[{]}"
OTHERS = bytes(set(range(256)) - set(BRACKETS + b'"'))
STEPS = bytes.maketrans(BRACKETS, b"\x01\x01\xff\xff")  # one deeper, or, as a signed byte, one back


def require_shallow(body: bytes, limit: int) -> None:
    """Raise InvalidRequest for a body whose arrays and objects lie more than `limit` deep in one another."""
    if body.count(b"[") + body.count(b"{") > limit and depth_of(body) > limit:
        raise InvalidRequest(
            f"Request body is nested too deeply. Expected at most {limit} levels of arrays and objects.",
            code="request_too_deep",
        )


def depth_of(body: bytes) -> int:
    """Return how many arrays and objects lie in one another at most; brackets within strings do not count.

    What is no JSON is measured rightly up to its first fault, which is as far as a parser goes.
    """
    marks = body.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, OTHERS)
    outside_strings = b"".join(marks.split(b'"')[::2])
    return max(accumulate(array("b", outside_strings.translate(STEPS))), default=0)
