"""Sends batches to a running API and keeps account of what became of their lines."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct, json

from app.moving.lines import ThreadLine
from app.moving.schemas import Imported, ImportLines, NumberedLine, RefusedLine, Renamed
from ops.moving.batching import Bad, Batch, Entry
from ops.remote import Refused, Remote

PATIENCE_S = 60.0
"""For so long a server that is busy is asked again."""
BUSY = frozenset({429, 503})
NOT_TAKEN = frozenset({400, 413})
"""What one line can be to blame for: the batch is sent again in halves, until that line is alone."""

REFERRED_TO = frozenset({"vector_store", "assistant", "thread"})
"""What lines of later batches may speak of by ids; within a thread the server finds what is meant."""

Ask = Callable[[], bytes]


class Options(Struct, frozen=True, kw_only=True):
    """How lines are brought in."""

    project_id: str | None = None
    dry_run: bool = False
    strict: bool = False


class Listener:
    """Who is told what became of a line. Does nothing by itself."""

    def renamed(self, one: Renamed) -> None:
        """Hear that an object has got another id."""

    def refused(self, one: RefusedLine) -> None:
        """Hear that a line was not taken."""

    def late(self, number: int) -> None:
        """Hear that a message stands after newer ones."""


class Stopped(Exception):
    """A line was refused, and that was to be the end."""


class Sender:
    """Sends what a file holds. `added`, `skipped` and `refused` count its lines."""

    def __init__(self, remote: Remote, options: Options, listener: Listener) -> None:
        self.added: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.refused = 0
        self._remote = remote
        self._options = options
        self._listener = listener
        self._names: dict[str, str] = {}
        self._shut: set[str] = set()

    def take(self, one: Batch | Bad) -> None:
        """Send a batch, or note a bad line. Raises Stopped, Refused and NobodyListens."""
        if isinstance(one, Bad):
            self._refuse(RefusedLine(line=one.number, reason=str(one.reason), thread_id=one.reason.thread_id))
            return
        entries = [entry for entry in one.entries if self._is_open(entry)]
        if entries or one.project is not None:
            self._send(Batch(one.project, entries), dry_run=self._options.dry_run)

    def _is_open(self, entry: Entry) -> bool:
        """Tell whether a line's thread was taken; otherwise refuse it, too."""
        thread_id = getattr(entry.line, "thread_id", None)
        if thread_id not in self._shut:
            return True
        self._refuse(RefusedLine(line=entry.number, reason=f"Its thread '{thread_id}' was refused."))
        return False

    def _refuse(self, one: RefusedLine) -> None:
        self.refused += 1
        self._shut |= {one.thread_id} if one.thread_id else set()
        self._listener.refused(one)
        if self._options.strict:
            raise Stopped

    def _send(self, batch: Batch, *, dry_run: bool) -> None:
        body = msgspec.json.encode(self._body(batch, dry_run))
        try:
            answer = patiently(lambda: self._remote.ask("POST", "/admin/import", body=body))
        except Refused as refused:
            if refused.status not in NOT_TAKEN or not batch.entries:
                raise
            self._find_fault(batch, refused, dry_run)
            return
        self._note(decoded(answer, Imported, self._remote))

    def _find_fault(self, batch: Batch, refused: Refused, dry_run: bool) -> None:
        """Send a batch in halves. With `strict` only to name the line: nothing of the batch is to be kept."""
        if len(batch.entries) == 1:
            (entry,) = batch.entries
            thread_id = entry.line.id if isinstance(entry.line, ThreadLine) else None
            self._refuse(RefusedLine(line=entry.number, reason=str(refused), thread_id=thread_id))
            return
        middle = len(batch.entries) // 2
        for half in (batch.entries[:middle], batch.entries[middle:]):
            self.take_open(Batch(batch.project, half), dry_run=dry_run or self._options.strict)

    def take_open(self, batch: Batch, *, dry_run: bool) -> None:
        """Send a part of a batch, but for what belongs to a thread that was refused meanwhile."""
        entries = [entry for entry in batch.entries if self._is_open(entry)]
        if entries:
            self._send(Batch(batch.project, entries), dry_run=dry_run)

    def _body(self, batch: Batch, dry_run: bool) -> ImportLines:
        named = batch.project if self._options.project_id is None else None
        return ImportLines(
            project_id=self._options.project_id,
            project=named,
            dry_run=dry_run,
            strict=self._options.strict,
            renamed=self._names_in(batch),
            lines=[NumberedLine(line=entry.number, entry=Raw(entry.text)) for entry in batch.entries],
        )

    def _names_in(self, batch: Batch) -> dict[str, str]:
        """Return which of the ids that got others these lines speak of."""
        if not self._names:
            return {}
        spoken = {name for entry in batch.entries for name in _spoken(entry)}
        return {name: self._names[name] for name in spoken & self._names.keys()}

    def _note(self, found: Imported) -> None:
        if found.kept or self._options.dry_run:
            self.added += Counter(found.added)
            self.skipped += Counter(found.skipped)
        for renamed in found.renamed:
            if renamed.object in REFERRED_TO:
                self._names[renamed.id] = renamed.new_id
            self._listener.renamed(renamed)
        for number in found.late:
            self._listener.late(number)
        for refused in found.refused:
            self._refuse(refused)


def _spoken(entry: Entry) -> Iterator[str]:
    for name in ("thread_id", "assistant_id", "parent_id"):
        value = getattr(entry.line, name, None)
        if isinstance(value, str):
            yield value
    resources = getattr(entry.line, "tool_resources", None)
    if resources is not None and resources.file_search is not None:
        yield from resources.file_search.vector_store_ids or ()


def patiently(ask: Ask) -> bytes:
    """Ask, and again while the server says that it is busy, for a minute. Raises Refused and NobodyListens."""
    until, wait_s = time.monotonic() + PATIENCE_S, 0.2
    while True:
        try:
            return ask()
        except Refused as refused:
            if refused.status not in BUSY or time.monotonic() + wait_s > until:
                raise
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, 5.0)


def decoded(answer: bytes, kind: Any, remote: Remote) -> Any:
    """Read an answer. Raises Refused for one that is none of this API's."""
    try:
        return json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise remote.stranger() from None
