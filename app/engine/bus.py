"""Tells readers in this process what happens in a run. A reader that lags reads on from memory or the journal.

A topic keeps a run's events; readers hold a place in it, so that a slow one costs nothing and slows nobody.
"""

import asyncio
from collections.abc import Sequence

from app.engine.turn import Stamped

KEPT_EVENTS = 4096


class Topic:
    """The events of one run that are still in memory: those after `floor`."""

    __slots__ = ("_waiters", "durable_seq", "ended", "events", "floor", "kept")

    def __init__(self, first: Sequence[Stamped], *, kept: int = KEPT_EVENTS) -> None:
        self.events: list[Stamped] = list(first)
        self.floor = first[0].seq - 1 if first else 0
        self.kept = kept
        self.durable_seq = self.floor
        self.ended = False
        self._waiters: set[asyncio.Future[bool]] = set()

    @property
    def last_seq(self) -> int:
        """The newest event's number."""
        return self.floor + len(self.events)

    def publish(self, events: Sequence[Stamped]) -> None:
        """Add events and wake the readers."""
        self.events.extend(events)
        if len(self.events) > 2 * self.kept:
            self._forget(min(len(self.events) - self.kept, self.durable_seq - self.floor))
        self.wake()

    def _forget(self, count: int) -> None:
        """Drop the oldest events, which the journal has."""
        if count > 0:
            del self.events[:count]
            self.floor += count

    def end(self) -> None:
        """Say that nothing more will come."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Wake every reader that waits."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            _resolve(waiter, True)

    def after(self, seq: int) -> list[Stamped] | None:
        """Return the events after a number; None when memory no longer reaches back that far."""
        if seq < self.floor:
            return None
        return self.events[seq - self.floor :]

    async def changed(self, timeout_s: float) -> bool:
        """Wait for the next event or the end; False when the time passed first."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.add(waiter)
        # A bare timer: this is once for each piece of text, and asyncio.timeout costs several times as much.
        alarm = loop.call_later(timeout_s, _resolve, waiter, False)
        try:
            return await waiter
        finally:
            alarm.cancel()
            self._waiters.discard(waiter)


def _resolve(waiter: "asyncio.Future[bool]", outcome: bool) -> None:
    if not waiter.done():
        waiter.set_result(outcome)


def unbroken(events: Sequence[Stamped]) -> Sequence[Stamped]:
    """Return the newest events whose numbers follow each other; what came before a gap is the journal's to tell."""
    start = len(events)
    while start > 0 and (start == len(events) or events[start - 1].seq + 1 == events[start].seq):
        start -= 1
    return events[start:]


class Bus:
    """The topics of the runs that are not over, by run id."""

    def __init__(self, *, kept: int = KEPT_EVENTS) -> None:
        self._topics: dict[str, Topic] = {}
        self._kept = kept

    def open(self, run_id: str, first: Sequence[Stamped]) -> Topic:
        """Make a run's topic; it starts with the events that its acceptance journalled.

        One from before ends with the task that tells it, which may still have its last event to tell.
        """
        topic = Topic(unbroken(first), kept=self._kept)
        topic.durable_seq = topic.last_seq
        self._topics[run_id] = topic
        return topic

    def topic(self, run_id: str) -> Topic | None:
        """Return a run's topic, None when the run is over or not ours."""
        return self._topics.get(run_id)

    def close(self, run_id: str) -> None:
        """End a topic. Readers that hold it read to its end; new ones go to the journal."""
        topic = self._topics.pop(run_id, None)
        if topic is not None:
            topic.end()
