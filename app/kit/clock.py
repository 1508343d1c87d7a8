"""The clock that everything asks, so that tests can move it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now(self) -> int:
        """Return whole seconds since 1970, as the wire wants them."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return whole seconds since 1970."""
        return int(time.time())

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
