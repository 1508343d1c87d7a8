"""A clock whose wall can be set while its time passes."""


class TwoClocks:
    """Stands still until a test lets time pass; the wall clock can also jump, as an operator or NTP makes it."""

    def __init__(self, wall: int = 1_700_000_000) -> None:
        self._wall = float(wall)
        self._passed = 1000.0

    def now(self) -> int:
        """Return whole seconds since 1970."""
        return int(self._wall)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._passed

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._passed += seconds

    def set_wall(self, second: int) -> None:
        """Set the wall clock; no time passes."""
        self._wall = float(second)
