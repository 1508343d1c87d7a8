"""A clock that stands still until a test moves it."""


class SetClock:
    """Shows one moment; `now` and `monotonic` move together."""

    def __init__(self, now: int = 1_700_000_000) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> int:
        """Return whole seconds since 1970."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._monotonic

    def move(self, seconds: int) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds
