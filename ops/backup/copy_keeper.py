"""Keeps one copy: brings it up to the store here, prunes it by itself, reads it again. Each copy has a thread."""

import threading
import time
from collections.abc import Callable

from ops.backup.archive import Archive
from ops.backup.copying import Copier
from ops.backup.failures import BackupFailed
from ops.backup.metrics import Metrics
from ops.backup.opening import Parts
from ops.backup.pruning import Borrowing, prune
from ops.backup.record import CopyState
from ops.backup.scrub import due, mend, scrub
from ops.backup.snapshot import Reached, pass_by
from ops.backup.store_keeper import PRUNE_EVERY_S
from ops.backup.trying import tried

SCRUBBED_LESS = 30
"""A copy is read again so many times more seldom than the store here: reading a bucket is paid for."""
Clock = Callable[[], float]


class CopyKeeper:
    """A copy and what is done for it. A copy that cannot be reached is tried again, and holds up nothing else."""

    def __init__(
        self, parts: Parts, there: Archive, metrics: Metrics, clock: Clock = time.time, reached: Reached = pass_by
    ) -> None:
        self._parts = parts
        self._there = there
        self._label = there.place.label
        self._metrics = metrics
        self._clock = clock
        self._reached = reached
        self._copier = Copier(parts.local, there, parts.retention, clock)
        self._pruned_at = self._scrubbed_at = clock()
        self._news = threading.Event()
        self._stopped = False
        metrics.copied.labels(self._label).set(0)

    def tell(self) -> None:
        """There is a new snapshot."""
        self._news.set()

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopped = True
        self._news.set()

    def run(self, every_s: float) -> None:
        """Work until stopped: at each new snapshot, and every so often to see whether it is still there."""
        while not self._stopped:
            self.turn()
            self._news.wait(every_s)
            self._news.clear()

    def turn(self) -> None:
        """Do what is due now."""
        problem = tried(self._metrics, f"copy to {self._label}", self.bring)
        if problem is None:
            self._metrics.copied.labels(self._label).set(self._clock())
        state = CopyState(self._clock(), problem is None, problem or "")
        tried(self._metrics, f"note on {self._label}", lambda: self._note(state))
        if problem is None:
            tried(self._metrics, f"pruning of {self._label}", self._prune_when_due)
            tried(self._metrics, f"scrub of {self._label}", self._scrub_what_is_due)

    def _note(self, state: CopyState) -> None:
        with self._parts.notes.locked():
            self._parts.notes.note_copy(self._label, state)

    def bring(self) -> None:
        """Copy what is missing; tell before and after it how much that is. Raises BackupFailed."""
        bad = self._parts.notes.read().damaged
        behind = self._metrics.behind.labels(self._label)
        try:
            self._copier.look()
            behind.set(len(self._copier.missing(bad)))
            self._copier.bring(lambda: self._stopped, self._reached, bad)
        finally:
            behind.set(len(self._copier.missing(bad)))  # also of a copy that does not answer

    def _prune_when_due(self) -> None:
        if self._clock() - self._pruned_at < PRUNE_EVERY_S:
            return
        self._pruned_at = self._clock()
        near = Archive(Borrowing(self._there.place, self._parts.local.place), self._there.sealer)
        pruned = prune(near, frozenset(), self._clock(), self._parts.retention)
        self._copier.forget()
        lost = [name for name in pruned.missing if not mend(self._there, name, [self._parts.local])]
        if lost:
            raise BackupFailed("damaged", f"the copy {self._label} lacks {len(lost)} files of its snapshots")

    def _scrub_what_is_due(self) -> None:
        now = self._clock()
        numbers = due(self._scrubbed_at, now, self._parts.settings.scrub_every_s * SCRUBBED_LESS)
        damaged: set[str] = set()
        for number in numbers:
            damaged |= scrub(self._there, number, [self._parts.local])[1]
        self._scrubbed_at = now  # one that went away meanwhile has the same turn again
        if damaged:
            self._copier.forget()
            raise BackupFailed("damaged", f"{len(damaged)} files of the copy {self._label} are damaged")
