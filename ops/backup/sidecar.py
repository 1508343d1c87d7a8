"""The sidecar: looks at the source every so often and takes a snapshot when it changed; beside that keeps the store.

Three kinds of work, so that none waits for another: snapshots, pruning and scrubbing in the thread that runs it; each
copy in a thread of its own; the drill in one more.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ops.backup.copy_keeper import CopyKeeper
from ops.backup.drill import drill, drill_copy
from ops.backup.manifest import Manifest
from ops.backup.metrics import Metrics
from ops.backup.opening import Parts
from ops.backup.places import Folder
from ops.backup.record import Drill
from ops.backup.snapshot import Reached, Snapshotter, pass_by
from ops.backup.source import Stat
from ops.backup.store_keeper import StoreKeeper
from ops.backup.trying import tried

log = logging.getLogger(__name__)

RETRY_DRILL_S = 900.0
PAUSE_S = 0.2
"""At least so long between two looks, where a snapshot takes longer than that, too: a restore waits for its turn."""
Clock = Callable[[], float]


class Sidecar:
    """Keeps the snapshots of one source. `reached` is told each step, for tests that end the process there."""

    def __init__(
        self, parts: Parts, metrics: Metrics, every_s: float, clock: Clock = time.time, reached: Reached = pass_by
    ) -> None:
        self.parts = parts
        self.metrics = metrics
        self._every_s = every_s
        self._clock = clock
        self._reached = reached
        self._snapshotter = Snapshotter(parts.source, parts.local, parts.scratch, parts.settings.recipients)
        self._keeper = StoreKeeper(parts, metrics, self._on_damage, clock)
        self._copies = [CopyKeeper(parts, archive, metrics, clock, reached) for archive in parts.copies]
        self._captured: tuple[Stat, ...] | None = None
        self._captured_at = clock()
        self._drilled_at: float | None = None
        self._drilling: Future[None] | None = None
        self._stopped = threading.Event()
        metrics.interval.set(every_s)

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopped.set()
        for copy in self._copies:
            copy.stop()

    def run(self) -> None:
        """Work until stopped."""
        self._clear()
        self.remember()
        threads = [threading.Thread(target=copy.run, args=(self._every_s,), name="copy") for copy in self._copies]
        for thread in threads:
            thread.start()
        with ThreadPoolExecutor(1, "drill") as drills:
            while not self._stopped.is_set():
                began = time.monotonic()
                self.tick(drills)
                self._stopped.wait(max(PAUSE_S, self._every_s - (time.monotonic() - began)))
        for thread in threads:
            thread.join()

    def _clear(self) -> None:
        """Remove what a sidecar that was killed left half done."""
        with self.parts.notes.locked():
            shutil.rmtree(self.parts.scratch, ignore_errors=True)
            Folder(self.parts.settings.path).sweep()

    def remember(self) -> None:
        """Tell what an earlier sidecar found: a start is no reason for an alert."""
        record = self.parts.notes.read()
        self.metrics.damaged.set(len(record.damaged))
        newest = self.parts.local.newest()
        if newest is not None:
            self._captured_at = newest.taken_at
            self.metrics.last_success.set(newest.taken_at)
            self._tell(newest)
        last = max(record.drills.values(), key=lambda made: made.at, default=None)
        if last is not None:
            self.metrics.last_drill.set(last.at)
            self.metrics.drill_ok.set(int(last.ok))

    def tick(self, drills: ThreadPoolExecutor) -> None:
        """Do what is due now."""
        tried(self.metrics, "snapshot", lambda: self._snapshot(drills))
        tried(self.metrics, "pruning", self._keeper.prune_when_due)
        tried(self.metrics, "scrub", self._keeper.scrub_what_is_due)

    def _on_damage(self) -> None:
        """Take the next snapshot whether or not the source changed, and store for it what is gone."""
        self._captured = None
        self._snapshotter.forget()

    def _snapshot(self, drills: ThreadPoolExecutor) -> None:
        state, now = self.parts.source.state(), self._clock()
        drill_due = self._drill_is_due(now)
        keep = self._sealed_copy if drill_due and self._sealed else None
        if state != self._captured or keep is not None:
            with self.parts.notes.locked():
                taken = self._snapshotter.take(self._reached, keep)
            if taken is None:
                return
            self._captured, self._captured_at = state, now
            self._tell(taken.manifest)
            self.metrics.chunks.set(taken.chunks)
            if taken.is_new:
                self._tell_news(taken.manifest)
        self.metrics.last_success.set(now)
        newest = self.parts.local.newest() if drill_due else None
        if newest is not None:
            self._drilled_at = now
            self._drilling = drills.submit(self._drill, newest)

    def _tell(self, manifest: Manifest) -> None:
        self.metrics.last_verified.set(self._captured_at)
        self.metrics.snapshots.set(len(self.parts.local.ids()))
        self.metrics.size.set(manifest.size_bytes)
        self.metrics.new.set(manifest.new_bytes)
        self.metrics.duration.set(manifest.duration_s)
        self.metrics.stall.set(manifest.stall_s)

    def _tell_news(self, manifest: Manifest) -> None:
        told = {"snapshot": manifest.id, "new_bytes": manifest.new_bytes, "seconds": manifest.duration_s}
        log.info("snapshot taken and verified", extra=told)
        self.metrics.stored.inc(manifest.new_bytes)  # until the next pruning counts all of it
        for copy in self._copies:
            copy.tell()

    @property
    def _sealed(self) -> bool:
        """Whether snapshots cannot be opened here."""
        return bool(self.parts.settings.recipients) and not self.parts.local.sealer.has_identity

    @property
    def _sealed_copy(self) -> Path:
        return self.parts.scratch / "sealed" / "sovereign_assistant.db"

    def _drill_is_due(self, now: float) -> bool:
        if self._drilling is not None and not self._drilling.done():
            return False
        if self._drilled_at is None:
            self._drilled_at = max((made.at for made in self.parts.notes.read().drills.values()), default=0.0)
        return now - self._drilled_at >= self.parts.settings.drill_every_s

    def _drill(self, manifest: Manifest) -> None:
        words: list[str] = []
        problem = tried(self.metrics, "drill", lambda: words.append(self._drilled(manifest)))
        if problem is not None:  # sooner than tomorrow
            self._drilled_at = self._clock() - self.parts.settings.drill_every_s + RETRY_DRILL_S
        self.metrics.last_drill.set(self._clock())
        self.metrics.drill_ok.set(int(problem is None))
        log.info("drill", extra={"snapshot": manifest.id, "ok": problem is None, "found": problem or words[0]})
        made = Drill(self._clock(), problem is None, problem or words[0])
        tried(self.metrics, "note on the drill", lambda: self._note_drill(manifest.id, made))

    def _note_drill(self, name: str, made: Drill) -> None:
        with self.parts.notes.locked():
            self.parts.notes.note_drill(name, made, frozenset(self.parts.local.ids()))

    def _drilled(self, manifest: Manifest) -> str:
        if self._sealed:
            return drill_copy(self.parts.local, manifest, self._sealed_copy)
        return drill(self.parts.local, manifest, self.parts.scratch)

    def refresh(self) -> None:
        """Bring what is measured when it is asked for up to now."""
        source = self.parts.source
        self.metrics.at_risk.set(0.0 if source.state() == self._captured else self._clock() - self._captured_at)
        self.metrics.wal.set(source.wal_bytes())
        with suppress(OSError):  # a store that is away is told of by what cannot be done with it
            self.metrics.free.set(shutil.disk_usage(self.parts.settings.path).free)
