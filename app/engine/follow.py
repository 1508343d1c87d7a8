"""Reads a run's events: what was, then what comes, each exactly once, wherever the reader joins."""

from collections.abc import AsyncGenerator, Sequence

from app.engine.bus import Topic
from app.engine.journal import Journal
from app.engine.turn import Stamped

PING: Sequence[Stamped] = ()


async def follow(
    journal: Journal, run_id: str, topic: Topic | None, *, after: int = 0, ping_s: float
) -> AsyncGenerator[Sequence[Stamped], None]:
    """Yield batches of events with numbers above `after`, and an empty batch after `ping_s` of silence.

    `topic` is the run's on the bus, None when the run is over. Ends when the run has ended and everything was told.
    A run that ended long ago yields nothing once its events are pruned.
    """
    seen = after
    if topic is None:
        past = await journal.events_after(run_id, seen)
        if past:
            yield past
        return
    while True:
        fresh = await _next(topic, journal, run_id, seen)
        if fresh:
            yield fresh
            seen = fresh[-1].seq
        elif topic.ended:
            return
        elif not await topic.changed(ping_s):
            yield PING


async def _next(topic: Topic, journal: Journal, run_id: str, seen: int) -> Sequence[Stamped]:
    held = topic.after(seen)
    if held is not None:
        return held
    return await journal.events_after(run_id, seen)
