"""What a snapshot is: its manifest, and the lists that name its chunks in order. Pure.

A list names up to LIST_CHUNKS chunks, a line each: SHA-256 of the chunk, SHA-256 of the file that holds it. Most lists
of two snapshots are the same, so a minute of history costs the lists that changed and not a name for every chunk.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from ops.backup.failures import Damaged

FORMAT = 1
CHUNK_BYTES = 64 * 1024
"""Of the database file: sixteen of its pages."""
LIST_CHUNKS = 128
_ID = "%Y%m%dT%H%M%S"
_READ = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3})Z")


class Chunk(NamedTuple):
    """A piece of a file: the SHA-256 of what it says, and of the file in the store that holds it."""

    plain: str
    stored: str


class Manifest(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A snapshot that was verified when it was made. `rows` counts each table, `watermarks` are the newest row ids."""

    format: int = FORMAT
    id: str
    taken_at: float
    app_version: str
    sqlite_version: str
    schema_revision: str
    size_bytes: int
    sha256: str
    lists: tuple[str, ...]
    rows: dict[str, int]
    watermarks: dict[str, int]
    journal: Chunk | None = None
    """The revocations that lay beside the database."""
    recipients: tuple[str, ...] = ()
    new_bytes: int = 0
    duration_s: float = 0.0
    stall_s: float = 0.0
    checksum: str = ""

    @property
    def content(self) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
        """What two snapshots of the same state have in common."""
        return self.lists, self.journal.plain if self.journal else None, self.recipients


def sha256(data: bytes) -> str:
    """Name bytes."""
    return hashlib.sha256(data).hexdigest()


def encode(manifest: Manifest) -> bytes:
    """Write a manifest, with the checksum of all the rest of it."""
    bare = msgspec.structs.replace(manifest, checksum="")
    whole = msgspec.structs.replace(bare, checksum=sha256(msgspec.json.encode(bare)))
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def decode(data: bytes, name: str) -> Manifest:
    """Read a manifest. Raises Damaged."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Damaged(f"the manifest {name} is damaged: it cannot be read") from None
    bare = msgspec.structs.replace(manifest, checksum="")
    if manifest.checksum != sha256(msgspec.json.encode(bare)) or manifest.id != name:
        raise Damaged(f"the manifest {name} is damaged: its checksum is another")
    return manifest


def encode_list(chunks: Iterable[Chunk]) -> bytes:
    """Write a list of chunks."""
    return "".join(f"{chunk.plain} {chunk.stored}\n" for chunk in chunks).encode()


def decode_list(data: bytes) -> list[Chunk]:
    """Read a list of chunks."""
    return [Chunk(*line.split(" ")) for line in data.decode().splitlines()]


def new_id(now: float, newest: str | None) -> str:
    """Name a snapshot by its time, in UTC; always after the newest one, whatever the clock says."""
    made = id_at(now)
    if newest is not None and made <= newest:
        return id_at(time_of(newest) + 0.001)
    return made


def id_at(moment: float) -> str:
    """Return the name of a snapshot of a moment, in seconds since 1970."""
    milliseconds = round(moment * 1000)
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC).strftime(_ID)}.{milliseconds % 1000:03d}Z"


def time_of(name: str) -> float:
    """Return the moment of a snapshot's name. Raises ValueError for what is none."""
    read = _READ.fullmatch(name)
    if read is None:
        raise ValueError(name)
    *parts, milliseconds = map(int, read.groups())
    return datetime(*parts, tzinfo=UTC).timestamp() + milliseconds / 1000  # type: ignore[arg-type,misc]  # six numbers


def chosen(names: Sequence[str], wanted: str) -> str | None:
    """Return the snapshot that `latest`, a whole name or the unambiguous beginning of one means."""
    if wanted == "latest":
        return max(names, default=None)
    matching = [name for name in names if name.startswith(wanted)]
    return matching[0] if len(matching) == 1 else None


def at_time(names: Sequence[str], moment: float) -> str | None:
    """Return the newest snapshot that is not after a moment."""
    return max((name for name in names if time_of(name) <= moment), default=None)
