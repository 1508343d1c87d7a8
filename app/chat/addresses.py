"""Refuses addresses that a model server would fetch: from inside it reaches what the client cannot."""

from collections.abc import Iterator
from typing import Any

import msgspec

from app.errors import InvalidRequest

KINDS = ("image_url", "audio_url", "video_url")


def require_no_addresses(body: bytes) -> None:
    """Refuse pictures, sounds and films that are not in the request itself. Raises InvalidRequest.

    A body that cannot hold one is not looked into: the name of such a part has `_url` in it, or an escape.
    """
    if b"_url" not in body and b"\\u00" not in body:
        return
    messages = msgspec.json.decode(body).get("messages")
    for place, url in _addresses(messages):
        if not isinstance(url, str) or url[:5].lower() != "data:":
            raise InvalidRequest(
                f"Invalid '{place}': nothing is fetched for you here, so send the content itself as a `data:` URL.",
                param=place,
                code="invalid_image_url",
            )


def _addresses(messages: Any) -> Iterator[tuple[str, Any]]:
    for at, message in enumerate(messages if isinstance(messages, list) else ()):
        parts = message.get("content") if isinstance(message, dict) else None
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            for kind in KINDS:
                if isinstance(part, dict) and part.get(kind) is not None:
                    told = part[kind]
                    url = told.get("url") if isinstance(told, dict) else told
                    yield f"messages[{at}].content[{number}].{kind}", url
