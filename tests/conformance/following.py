"""One streamed answer while it arrives: bytes in, events and order checked. Knows no HTTP client."""

from collections.abc import Callable, Mapping
from typing import Any

from .order import StreamOrder
from .response_order import ResponseOrder
from .sse import SseParser

Order = StreamOrder | ResponseOrder


class Following:
    """Follows one stream; `feed` and `finish` raise AssertionError at the first thing that is wrong."""

    def __init__(
        self,
        label: str,
        params: Mapping[str, str],
        check_event: Callable[[str | None, bytes], Any],
        order: Order | None,
    ) -> None:
        self._label = label
        self._params = params
        self._check_event = check_event
        self._parser = SseParser()
        self._order = order

    @property
    def done(self) -> bool:
        """Say whether `done` came, after which a client may hang up before the end of the body."""
        return self._order is not None and self._order.done

    def feed(self, chunk: bytes) -> None:
        """Check the events that these bytes complete."""
        for event in self._parser.feed(chunk):
            try:
                payload = self._check_event(event.event, event.data)
                self._check_ids(event.event, payload)
                if self._order:
                    self._order.feed(event.event, payload)
            except AssertionError as error:
                raise AssertionError(f"{self._label}, {error}") from None

    def _check_ids(self, event: str | None, payload: Any) -> None:
        """Demand that an event be about the thread and run that the path named."""
        for name, value in self._params.items() if isinstance(payload, dict) else ():
            if payload.get(name, value) != value:
                raise AssertionError(f"event {event}: $.{name}: {payload[name]!r} instead of {value!r}")

    def finish(self) -> None:
        """Check that the body ended where a stream may end."""
        if self._parser.pending:
            raise AssertionError(f"{self._label}, the body ends within an event")
        if self._order:
            try:
                self._order.finish()
            except AssertionError as error:
                raise AssertionError(f"{self._label}, {error}") from None
