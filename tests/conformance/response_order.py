"""The order of a response's stream (openai_wire.md 3.2). The shape of each event is not its matter."""

from collections.abc import Sequence
from typing import Any

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
LIFECYCLE = ("response.created", "response.queued", "response.in_progress")
DELTAS = {
    "response.output_text.delta": "response.output_text.done",
    "response.reasoning_text.delta": "response.reasoning_text.done",
    "response.function_call_arguments.delta": "response.function_call_arguments.done",
}
DONE = {done: delta for delta, done in DELTAS.items()}
WHOLE = {"response.function_call_arguments.done": "arguments"}
GAP = 1_000_000
"""Numbers jump by so much, or more, where a killed server had told what never reached its disk."""


class ResponseOrder:
    """Follows one stream; `feed` and `finish` raise AssertionError on the first event out of place.

    A `resumed` one may begin in the middle of what it tells.
    """

    def __init__(self, *, resumed: bool = False) -> None:
        self._resumed = resumed
        self._joined = False
        self._number: int | None = None
        self._open: dict[str, str] = {}
        self._items: list[Any] = []
        self.done = False

    def feed(self, event: str | None, payload: Any) -> None:
        """Take the next event, with its data decoded."""
        _demand(not self.done, f"{event} comes after the end")
        if event == "error":
            self.done = True
            return
        self._count(event, payload["sequence_number"])
        if event in LIFECYCLE:
            _demand(not self._open, f"{event} comes while an item is open")
        elif event in ENDS:
            self._end(payload["response"])
        else:
            self._advance(str(event), payload)

    def finish(self) -> None:
        """Take the end of the stream."""
        nothing_new = self._resumed and self._number is None
        _demand(self.done or nothing_new, "the stream ends before the response does")

    def _count(self, event: str | None, number: int) -> None:
        if self._number is None:
            self._joined = self._resumed and number > 0
            _demand(self._joined or (event, number) == ("response.created", 0), f"the stream begins with {event}")
        else:
            gap = number - self._number - 1
            _demand(gap == 0 or gap >= GAP, f"{event} has number {number} after {self._number}")
        self._number = number

    def _advance(self, event: str, payload: dict[str, Any]) -> None:
        item = payload["item"]["id"] if "item" in payload else payload["item_id"]
        known = item in self._open
        if event == "response.output_item.added":
            _demand(not known, f"{event} of {item} comes twice")
            self._open[item] = ""
        elif not self._joined or known:
            _demand(known, f"{event} comes before {item} was added")
            if event in DELTAS:
                self._open[item] += payload["delta"]
            elif event in DONE:
                whole = payload[WHOLE.get(event, "text")]
                _demand(self._joined or whole == self._open[item], f"{event} says {whole!r}, its deltas another")
        if event == "response.output_item.done":
            self._open.pop(item, None)
            self._items.append(payload["item"])

    def _end(self, response: dict[str, Any]) -> None:
        self.done = True
        _demand(not self._open, f"the response ends while items are open: {sorted(self._open)}")
        output: Sequence[Any] = response["output"]
        told = [item for item in self._items if item in output]
        _demand(self._joined or told == list(output), "the output is not what the items said")


def _demand(holds: bool, otherwise: str) -> None:
    # Not an assert: this must hold under python -O too.
    if not holds:
        raise AssertionError(f"stream order: {otherwise}")
