"""Snapshots in a place: manifests in `snapshots/`, files in `objects/`, named by the SHA-256 of what is in them.

So `sha256sum` tells of any file whether it is whole, here, on the second disk and in a bucket, without a key.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ops.backup.failures import Damaged
from ops.backup.manifest import Chunk, Manifest, decode, decode_list, encode, encode_list, sha256, time_of
from ops.backup.places import Place
from ops.backup.sealing import Sealer, packed, unpacked

OBJECTS = "objects/"
SNAPSHOTS = "snapshots/"
AT_ONCE = 8
"""Files that are read or written at a time: a disk syncs several in the time of one."""


class Known(NamedTuple):
    """What the newest snapshot holds and the next one need not store again: chunks with their files, and lists."""

    chunks: dict[str, str]
    lists: frozenset[str]


class Archive:
    """The snapshots of one place."""

    def __init__(self, place: Place, sealer: Sealer) -> None:
        self.place = place
        self.sealer = sealer

    def ids(self) -> list[str]:
        """List the snapshots, oldest first."""
        names = (name.removeprefix(SNAPSHOTS).removesuffix(".json") for name, _ in self.place.names(SNAPSHOTS))
        return sorted(name for name in names if _is_id(name))

    def manifest(self, name: str) -> Manifest:
        """Read what a snapshot is. Raises Damaged, and KeyError when there is none."""
        return decode(self.place.get(f"{SNAPSHOTS}{name}.json"), name)

    def newest(self) -> Manifest | None:
        """Read the newest snapshot whose manifest can be read."""
        for name in reversed(self.ids()):
            try:
                return self.manifest(name)
            except (Damaged, KeyError):
                continue
        return None

    def put_manifest(self, manifest: Manifest) -> None:
        """Let a snapshot count. Everything that it names must be here; it lasts before the manifest is there."""
        self.place.settle()
        self.place.put(f"{SNAPSHOTS}{manifest.id}.json", encode(manifest))
        self.place.settle()

    def put_chunk(self, plain: bytes) -> tuple[Chunk, int]:
        """Store a chunk, read it back and compare; return what names it and the size of its file."""
        stored = self.sealer.seal(plain)
        name = self._put(stored)
        if self.sealer.open(self.get(name)) != plain:
            raise Damaged(f"{path_of(name)} is not what was written")
        return Chunk(sha256(plain), name), len(stored)

    def put_list(self, chunks: list[Chunk], known: frozenset[str]) -> tuple[str, int]:
        """Store a list unless it is known; return its name and the size of what was stored."""
        stored = packed(encode_list(chunks))
        if sha256(stored) in known:
            return sha256(stored), 0
        name = self._put(stored)
        self.get(name)
        return name, len(stored)

    def _put(self, stored: bytes) -> str:
        name = sha256(stored)
        self.place.put(path_of(name), stored)
        return name

    def get(self, name: str) -> bytes:
        """Read a file and compare it with its name. Raises Damaged."""
        try:
            stored = self.place.get(path_of(name))
        except KeyError:
            raise Damaged(f"{path_of(name)} is missing from {self.place.label}") from None
        if sha256(stored) != name:
            raise Damaged(f"{path_of(name)} in {self.place.label} is damaged: its checksum is another")
        return stored

    def get_chunk(self, chunk: Chunk) -> bytes:
        """Read a chunk. Raises Damaged and NoKey."""
        plain = self.sealer.open(self.get(chunk.stored))
        if sha256(plain) != chunk.plain:
            raise Damaged(f"{path_of(chunk.stored)} in {self.place.label} holds another chunk than it should")
        return plain

    def lists(self, manifest: Manifest) -> Iterator[list[Chunk]]:
        """Yield the chunks of a snapshot, a list at a time. Raises Damaged."""
        for name in manifest.lists:
            yield self.chunks(name)

    def chunks(self, name: str) -> list[Chunk]:
        """Read a list."""
        return decode_list(unpacked(self.get(name)))

    def check_stored(self, manifest: Manifest) -> int:
        """Read every file of a snapshot and compare checksums, which needs no key; return how many. Raises Damaged."""
        seen = set(manifest.lists)
        if manifest.journal is not None:
            seen.add(manifest.journal.stored)
        for chunks in self.lists(manifest):
            seen.update(chunk.stored for chunk in chunks)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self._check_one, sorted(seen)):
                pass
        return len(seen)

    def _check_one(self, name: str) -> None:
        self.get(name)

    def known(self, recipients: tuple[str, ...]) -> Known:
        """Return what the newest snapshot holds that is here.

        What was sealed for others, or for nobody, is not taken up: it would be in a new snapshot as it was sealed then.
        """
        newest = self.newest()
        if newest is None or newest.recipients != recipients:
            return Known({}, frozenset())
        there = {name.rpartition("/")[2] for name, _ in self.place.names(OBJECTS)}
        chunks: dict[str, str] = {}
        sound = set()
        for name in newest.lists:
            try:
                chunks |= {chunk.plain: chunk.stored for chunk in self.chunks(name) if chunk.stored in there}
                sound.add(name)
            except Damaged:
                continue
        return Known(chunks, frozenset(sound))


def path_of(name: str) -> str:
    """Return where a file is, in folders of a size that a person can list."""
    return f"{OBJECTS}{name[:2]}/{name}"


def _is_id(name: str) -> bool:
    try:
        time_of(name)
    except ValueError:
        return False
    return True
