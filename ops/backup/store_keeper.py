"""Keeps the store here: prunes it, reads it again piece by piece, mends it from the copies, and says what is lost."""

import logging
import time
from collections.abc import Callable

from ops.backup.archive import OBJECTS, SNAPSHOTS
from ops.backup.failures import BackupFailed
from ops.backup.metrics import Metrics
from ops.backup.opening import Parts
from ops.backup.pruning import needing, prune
from ops.backup.scrub import DAMAGED, due, mend, scrub, scrub_manifests

log = logging.getLogger(__name__)

PRUNE_EVERY_S = 3600.0
Clock = Callable[[], float]


class StoreKeeper:
    """`on_damage` is called when files are gone that the next snapshot may have counted on."""

    def __init__(self, parts: Parts, metrics: Metrics, on_damage: Callable[[], None], clock: Clock = time.time) -> None:
        self._parts = parts
        self._metrics = metrics
        self._on_damage = on_damage
        self._clock = clock
        self._pruned_at = 0.0
        self._scrubbed_at = clock()
        self._manifests_at = 0.0

    def prune_when_due(self) -> None:
        """Prune every hour. Raises BackupFailed, also when snapshots turn out to be damaged."""
        if self._clock() - self._pruned_at < PRUNE_EVERY_S:
            return
        parts = self._parts
        with parts.notes.locked():
            pruned = prune(parts.local, parts.notes.read().damaged, self._clock(), parts.retention)
            self._pruned_at = self._clock()
            if pruned.snapshots:
                log.info("pruned", extra={"snapshots": len(pruned.snapshots), "files": pruned.files})
            self._judge(frozenset(name for name in pruned.missing if not mend(parts.local, name, parts.copies)))
        names = [*parts.local.place.names(OBJECTS), *parts.local.place.names(SNAPSHOTS)]
        self._metrics.stored.set(sum(size for _, size in names))

    def scrub_what_is_due(self) -> None:
        """Read again what has its turn. Raises BackupFailed when snapshots turn out to be damaged."""
        before, now = self._scrubbed_at, self._clock()
        self._scrubbed_at = now
        every_s = self._parts.settings.scrub_every_s
        self.scrub(list(due(before, now, every_s)), manifests=now - self._manifests_at >= every_s)

    def scrub(self, numbers: list[int], *, manifests: bool) -> None:
        """Read some of the store's parts again."""
        local, copies = self._parts.local, self._parts.copies
        damaged: set[str] = set()
        with self._parts.notes.locked():
            for number in numbers:
                count, found = scrub(local, number, copies)
                self._metrics.scrubbed.inc(count)
                damaged |= found
            unreadable: frozenset[str] = frozenset()
            if manifests:
                self._manifests_at = self._clock()
                unreadable = scrub_manifests(local, copies)
            if damaged or unreadable or manifests:
                self._judge(frozenset(damaged), unreadable=bool(unreadable))

    def _judge(self, files: frozenset[str], *, unreadable: bool = False) -> None:
        """Note which snapshots cannot be restored any more, and raise BackupFailed when that is news."""
        known = self._parts.notes.read().damaged
        if not (files or known or unreadable):
            return
        self._on_damage()
        gone = files | self._set_aside()
        bad = needing(self._parts.local, gone)
        self._parts.notes.note_damage(bad)
        self._metrics.damaged.set(len(bad))
        if bad - known:
            words = ", ".join(sorted(bad - known))
            raise BackupFailed("damaged", f"stored files are damaged; snapshots that cannot be restored: {words}")

    def _set_aside(self) -> frozenset[str]:
        """Return what was found damaged before, and was not stored anew since."""
        local = self._parts.local.place
        there = {name.rpartition("/")[2] for name, _ in local.names(OBJECTS)}
        return frozenset(name.rpartition("/")[2] for name, _ in local.names(DAMAGED)) - there
