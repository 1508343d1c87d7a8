"""The text of a key, `sk-sov-<id>-<secret><checksum>`. Pure, but for the random numbers.

The checksum is there so that a mistyped, truncated or invented key is refused before anything is looked up.
"""

import hmac
import re
import secrets
import zlib

from app.kit.ids import ALPHABET, base62

PREFIX = "sk-sov-"
ID_LENGTH = 12
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
PEPPER_BYTES = 32

_FORM = re.compile(rb"sk-sov-([0-9A-Za-z]{%d})-[0-9A-Za-z]{%d}" % (ID_LENGTH, SECRET_LENGTH + CHECKSUM_LENGTH))


def new_key_id() -> str:
    """Return the id of a new key: `key_` and the part of its text that is no secret."""
    return f"key_{_random(ID_LENGTH)}"


def new_key(key_id: str) -> str:
    """Return the text of a key with this id and a secret that nobody has seen."""
    body = f"{PREFIX}{key_id.removeprefix('key_')}-{_random(SECRET_LENGTH)}"
    return body + _checksum(body.encode())


def key_id_of(presented: bytes) -> str | None:
    """Return the id in the text of a key; None for what cannot be a key of ours."""
    found = _FORM.fullmatch(presented)
    if found is None or presented[-CHECKSUM_LENGTH:].decode() != _checksum(presented[:-CHECKSUM_LENGTH]):
        return None
    return f"key_{found[1].decode()}"


def hash_of(pepper: bytes, key: bytes) -> bytes:
    """Return what is kept of a key: whoever reads it, and not the pepper, cannot even try guesses."""
    return hmac.digest(pepper, key, "sha256")


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: bytes) -> str:
    return base62(zlib.crc32(body), CHECKSUM_LENGTH)
