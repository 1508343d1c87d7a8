"""How slow a client may be: done within a time, or else moving at a pace, over that time again and again."""

import asyncio
from collections.abc import Callable

BYTES_PER_S = 16 * 1024
"""A large body over a slow line is that fast; a byte now and then is not."""


class Pace:
    """Calls `on_late` unless `end` is called within `timeout_s`, or so many bytes are moved in each such while."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout_s: float,
        moved_bytes: Callable[[], int],
        on_late: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._moved_bytes = moved_bytes
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None
        self._moved_before = 0

    def begin(self) -> None:
        """Start the clock, unless it runs."""
        if self._timer is None:
            self._moved_before = self._moved_bytes()
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def end(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        moved = self._moved_bytes()
        if moved - self._moved_before >= BYTES_PER_S * self._timeout_s:
            self._moved_before = moved
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        else:
            self._timer = None
            self._on_late()
