"""What stands in for the checker where the official document is absent: it counts what it could not check."""

from collections.abc import Iterable, Mapping
from typing import Any

from .checker import Checker
from .following import Following


class Unchecked(Checker):
    """Checks nothing, finds no fault, and sees no operation."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.answers = 0
        self.events = 0
        self.violations: list[AssertionError] = []

    def check_response(self, method: str, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Count an answer."""
        self.answers += 1

    def follow(self, method: str, url: str, status: int, headers: Mapping[str, str]) -> Following | None:
        """Count a streamed answer, whose events nobody reads."""
        self.answers += 1
        return None

    def check_event(self, event: str | None, data: bytes) -> Any:
        """Count an event."""
        self.events += 1

    def check_stream(self, events: Iterable[tuple[Any, ...]]) -> None:
        """Count the events of a stream."""
        self.events += sum(1 for _ in events)
