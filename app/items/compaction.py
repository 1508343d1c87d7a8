"""What a compaction item carries: a summary, and the number of this form of it, as JSON in base64.

The wire calls it encrypted. It is not: it is the client's own context, which the client holds anyway, and a server that
keeps nothing of it has no use for a secret.
"""

from base64 import b64decode, b64encode
from typing import Literal

from msgspec import DecodeError, json

from app.errors import InvalidRequest
from app.kit.wire import Foreign, to_json


class Summary(Foreign, kw_only=True, frozen=True):
    """A summary of what was said."""

    v: Literal[1] = 1
    summary: str


_decode = json.Decoder(Summary).decode


def packed(summary: str) -> str:
    """Return what a compaction item carries."""
    return b64encode(to_json(Summary(summary=summary)).encode()).decode()


def summary_in(content: str, at: str) -> str:
    """Return the summary that a compaction item carries. Raises InvalidRequest for what was not made here."""
    try:
        return _decode(b64decode(content, validate=True)).summary
    except (ValueError, DecodeError):
        raise InvalidRequest(
            f"Invalid '{at}.encrypted_content': it was not made by this server's /v1/responses/compact.",
            param=f"{at}.encrypted_content",
            code="invalid_value",
        ) from None
