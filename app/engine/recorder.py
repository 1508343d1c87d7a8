"""Puts the events of a turn on disk and tells them, in order.

What changes a status is told once it is on disk. Text and the opening of the message that takes it are told at once
and flushed soon, for all running turns in one commit: a crash loses them together with the turn that made them.
"""

import asyncio
import logging
from collections.abc import Callable

from app.engine.bus import Topic
from app.engine.events import Pieces
from app.engine.journal import Journal, LostRun
from app.engine.loop import Batch
from app.engine.turn import Stamped, Turn
from app.engine.watching import Watch
from app.errors import Unavailable
from app.telemetry import tracing

log = logging.getLogger(__name__)

STORAGE_RETRIES_S = (0.1, 0.5, 2.0, *(5.0,) * 60)


def _nothing() -> None:
    pass


class Recorder:
    """Journals and tells the events of one turn."""

    def __init__(
        self,
        turn: Turn,
        topic: Topic,
        keeps: "tuple[Journal, Flusher] | None",
        on_rest: Callable[[], None] = _nothing,
    ) -> None:
        """`keeps` puts events on disk; None for a turn of which nothing is kept.

        `on_rest` is called before anybody can see that the turn has ended or waits for its client.
        """
        self.turn = turn
        self.lost = False
        self._on_rest = on_rest
        self._topic = topic
        self._keeps = keeps
        self._pending: list[Stamped] = []
        self._watch = Watch(turn)

    async def record(self, batch: Batch) -> None:
        """Take a batch. Raises LostRun when the run is no longer ours.

        A caller that is cancelled meanwhile is cancelled once the batch is on disk and told.
        """
        if self.lost:
            raise LostRun(self.turn.spec.run_id)
        stamped = self.turn.stamp(batch)
        if self._keeps is not None and isinstance(batch[-1], Pieces):
            self._pending += stamped
            self._tell(stamped)
            self._keeps[1].mark(self)
            return
        if self.turn.rests:
            self._on_rest()
        if self._keeps is None:
            self._tell(stamped)
            return
        writing = asyncio.create_task(self._write_and_tell(stamped, *self._keeps))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            writing.exception()  # noted: one that nobody asks for is logged as a fault of ours
            raise

    async def _write_and_tell(self, stamped: list[Stamped], journal: Journal, flusher: "Flusher") -> None:
        """Put what is pending on disk, then tell. A storage that fails (a full disk) is asked again for minutes: the
        answer is there and the GPU has worked for it.
        """
        await flusher.settled(self)
        events = self.take_pending() + stamped
        with tracing.span("journal"):
            await self._append(journal, events)
        self.flushed(events)
        self._tell(stamped)

    async def _append(self, journal: Journal, events: list[Stamped]) -> None:
        for pause_s in STORAGE_RETRIES_S:
            try:
                await journal.append(self.turn, events)
                return
            except Unavailable:
                await asyncio.sleep(pause_s)
        await journal.append(self.turn, events)

    def _tell(self, stamped: list[Stamped]) -> None:
        self._topic.publish(stamped)
        self._watch.saw(stamped)

    def take_pending(self) -> list[Stamped]:
        """Hand over the events that are not on disk yet."""
        events, self._pending = self._pending, []
        return events

    def put_back(self, events: list[Stamped]) -> None:
        """Take events back that could not be written."""
        self._pending = events + self._pending

    def flushed(self, events: list[Stamped]) -> None:
        """Note that events are on disk: memory may forget them."""
        self._topic.durable_seq = events[-1].seq


class Flusher:
    """Flushes the text of every running turn together, at most once in `interval_s`."""

    def __init__(self, journal: Journal, interval_s: float) -> None:
        self.started = False
        self._journal = journal
        self._interval_s = interval_s
        self._marked: set[Recorder] = set()
        self._wake = asyncio.Event()
        self._in_flight: dict[Recorder, asyncio.Event] = {}
        self._flushing: asyncio.Task[None] | None = None

    def mark(self, recorder: Recorder) -> None:
        """Flush this turn's text at the next occasion."""
        if recorder not in self._marked:
            self._marked.add(recorder)
            self._wake.set()

    async def settled(self, recorder: Recorder) -> None:
        """Wait for the flush that has this turn's text, if one is under way."""
        self._marked.discard(recorder)
        written = self._in_flight.get(recorder)
        if written is not None:
            await written.wait()

    async def run(self) -> None:
        """Flush until cancelled."""
        self.started = True
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._interval_s)
            self._wake.clear()
            marked, self._marked = self._marked, set()
            if marked:
                # Shielded: a flush that has begun is finished, since nobody could say what it left on disk.
                self._flushing = asyncio.create_task(self._flush(marked))
                await asyncio.shield(self._flushing)

    async def _flush(self, marked: set[Recorder]) -> None:
        taken = {recorder: events for recorder in marked if (events := recorder.take_pending())}
        if not taken:
            return
        written = asyncio.Event()
        self._in_flight = dict.fromkeys(taken, written)
        try:
            lost = await self._journal.append_together([(recorder.turn, events) for recorder, events in taken.items()])
        except Unavailable:
            self._put_back(taken)
            for recorder in taken:
                self.mark(recorder)
        except Exception:
            log.exception("text could not be flushed; each run will try with its next event")
            self._put_back(taken)
        else:
            for recorder, events in taken.items():
                recorder.lost = recorder.turn.spec.run_id in lost
                recorder.flushed(events)
        finally:
            self._in_flight = {}
            written.set()

    def _put_back(self, taken: dict[Recorder, list[Stamped]]) -> None:
        for recorder, events in taken.items():
            recorder.put_back(events)
