"""From the lines of a file to batches of a bounded size. What belongs together stays together where it fits. Pure."""

from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from msgspec import UNSET, json

from app.moving.lines import Line, MessageLine, ProjectLine
from app.moving.reading import BadLine, read
from app.moving.schemas import NamedProject

LINE_BYTES = 64 * 1024 * 1024
"""A longer line is refused unread: a thread that needs it can have its messages as lines of their own."""
BATCH_LINES = 500
BATCH_BYTES = 1024 * 1024
_PIECE = 1024 * 1024


class Entry(NamedTuple):
    """One object, as it is sent, with its line's number, and what was read of it."""

    number: int
    text: bytes
    line: Line


class Bad(NamedTuple):
    """A line that is not sent."""

    number: int
    reason: BadLine


class Batch(NamedTuple):
    """Objects that are sent together, and the project that the file says they are of."""

    project: NamedProject | None
    entries: list[Entry]


def numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes | BadLine]]:
    """Yield the lines of a file with their numbers, without empty ones; one that is too long is read past."""
    number = 0
    while text := file.readline(LINE_BYTES + 1):
        number += 1
        if len(text) > LINE_BYTES:
            while text and not text.endswith(b"\n"):
                text = file.readline(_PIECE)
            words = f"It is longer than {LINE_BYTES} bytes. Write a thread's messages as lines of their own."
            yield number, BadLine(words)
        elif text.strip():
            yield number, text.strip()


class Packer:
    """Fills batches of one project after another."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._project: NamedProject | None = None
        self._unsent = False
        self._entries: list[Entry] = []
        self._size = 0

    def turn_to(self, line: ProjectLine) -> Iterator[Batch]:
        """Go on with another project; one that holds nothing is sent, too."""
        yield from self.rest()
        self._project = NamedProject(id=line.id, created_at=line.created_at, name=line.name)
        self._unsent = True

    def pack(self, group: list[Entry]) -> Iterator[Batch]:
        """Take a group, into a new batch if it does not fit beside what is there; one too large goes on in the next."""
        if not self._fits(len(group), sum(len(entry.text) for entry in group)):
            yield from self.rest()
        for entry in group:
            if not self._fits(1, len(entry.text)):
                yield from self.rest()
            self._entries.append(entry)
            self._size += len(entry.text)

    def rest(self) -> Iterator[Batch]:
        """Yield what is left."""
        if self._entries or self._unsent:
            yield Batch(self._project, self._entries)
        self._entries, self._size, self._unsent = [], 0, False

    def _fits(self, count: int, size: int) -> bool:
        return not self._entries or (len(self._entries) + count <= BATCH_LINES and self._size + size <= self._most)


def batches(lines: Iterable[tuple[int, bytes | BadLine]], most_bytes: int = BATCH_BYTES) -> Iterator[Batch | Bad]:
    """Yield batches in the order of their lines, and bad lines as they are met."""
    packer = Packer(most_bytes)
    for group in groups(lines, most_bytes):
        if isinstance(group, Bad):
            yield group
        elif isinstance(group[0].line, ProjectLine):
            yield from packer.turn_to(group[0].line)
        else:
            yield from packer.pack(group)
    yield from packer.rest()


def groups(lines: Iterable[tuple[int, bytes | BadLine]], most_bytes: int) -> Iterator[list[Entry] | Bad]:
    """Yield what belongs together: all of a line, or lines of one thread whose messages must be put in order."""
    held: list[Entry] = []
    size = 0
    for number, text in lines:
        found = entries_of(number, text)
        if isinstance(found, Bad):
            yield found
            continue
        thread_id, more = unplaced(found), sum(len(entry.text) for entry in found)
        together = held and thread_id is not None and thread_id == unplaced(held)
        if held and not (together and len(held) < BATCH_LINES and size + more <= most_bytes):
            yield held
            held, size = [], 0
        held += found
        size += more
    if held:
        yield held


def entries_of(number: int, text: bytes | BadLine) -> list[Entry] | Bad:
    """Return what is sent of a line: itself, or a thread and its messages one by one."""
    if isinstance(text, BadLine):
        return Bad(number, text)
    try:
        found = read(text)
    except BadLine as bad:
        return Bad(number, bad)
    if len(found) == 1:
        return [Entry(number, text, found[0])]
    return [Entry(number, json.encode(line), line) for line in found]


def unplaced(group: list[Entry]) -> str | None:
    """Return the thread of messages that are lines of their own and have no places yet."""
    line = group[-1].line
    alone = isinstance(group[0].line, MessageLine) and isinstance(line, MessageLine) and line.position is UNSET
    return str(line.thread_id) if alone and isinstance(line, MessageLine) and line.thread_id is not UNSET else None
