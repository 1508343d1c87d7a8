"""The order of an Assistants stream (openai_wire.md 3.1). The shape of each event is not its matter."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .events import ASSISTANT_EVENTS, ENDS_OF_RUN

# Each object goes through its events in this order, none twice but deltas; all others end it.
RANKS = {"created": 0, "queued": 1, "in_progress": 2, "cancelling": 3}
END = 4
KINDS = ("thread.run.step", "thread.run", "thread.message")


class StreamOrder:
    """Follows one stream; `feed` and `finish` raise AssertionError on the first event out of place."""

    def __init__(self, opening: Sequence[str] = ()) -> None:
        self._opening = list(opening)
        self._ranks: dict[tuple[str, str], int] = {}
        self._texts: dict[str, dict[int, str]] = defaultdict(dict)
        self._before: str | None = None
        self.done = False

    def feed(self, event: str | None, payload: Any) -> None:
        """Take the next event, with its data decoded."""
        self._check_end(event)
        if self._opening and event != "error":
            expected = self._opening.pop(0)
            _demand(event == expected, f"{event} where the stream must go on with {expected}")
        if event and event in ASSISTANT_EVENTS:
            self._advance(event, payload)
        self.done = event == "done"
        self._before = event

    def finish(self) -> None:
        """Take the end of the stream."""
        _demand(self.done or self._before == "error", f"the stream ends after {self._before}, without done")

    def _check_end(self, event: str | None) -> None:
        known = event in ASSISTANT_EVENTS or event in ("error", "done")
        _demand(known, f"{event} is no event of an Assistants stream")
        _demand(not self.done, f"{event} comes after done")
        ended = self._before in ENDS_OF_RUN or self._before == "error"
        if event == "done":
            _demand(ended, f"done comes after {self._before}, not after the end of the run")
        else:
            _demand(not ended, f"{event} comes after {self._before}, which ends the stream")

    def _advance(self, event: str, payload: dict[str, Any]) -> None:
        kind = next((kind for kind in KINDS if event.startswith(f"{kind}.")), None)
        if kind is None:
            return
        stage, key = event.rpartition(".")[2], (kind, payload["id"])
        before = self._ranks.get(key)
        if stage == "delta":
            _demand(before is not None, f"{event} of {payload['id']} comes before {kind}.created")
            _demand(before != END, f"{event} of {payload['id']} comes after its end")
            if kind == "thread.message":
                self._collect(payload)
            return
        rank = RANKS.get(stage, END)
        _demand(before is None or before < rank, f"{event} of {payload['id']} comes late or twice")
        _demand(before is not None or kind != "thread.message" or rank == 0, f"{event} comes before created")
        self._ranks[key] = rank
        self._close(event, payload)

    def _collect(self, payload: dict[str, Any]) -> None:
        texts = self._texts[payload["id"]]
        for part in payload["delta"]["content"]:
            if part["type"] == "text":
                texts[part["index"]] = texts.get(part["index"], "") + part["text"]["value"]

    def _close(self, event: str, payload: dict[str, Any]) -> None:
        if event == "thread.message.completed":
            self._compare(payload)
        if event == "thread.run.completed":
            left = [f"{kind} {name}" for (kind, name), rank in self._ranks.items() if rank != END]
            _demand(not left, f"{event} while not ended: {', '.join(left)}")

    def _compare(self, message: dict[str, Any]) -> None:
        content, streamed = message["content"], self._texts[message["id"]]
        texts = {index: part["text"]["value"] for index, part in enumerate(content) if part["type"] == "text"}
        for index in sorted(texts.keys() | streamed.keys()):
            said, sent = texts.get(index), streamed.get(index, "")
            _demand(
                said == sent,
                f"thread.message.completed says {said!r} at content[{index}], the deltas {sent!r}",
            )


def _demand(holds: bool, otherwise: str) -> None:
    # Not an assert: this must hold under python -O too.
    if not holds:
        raise AssertionError(f"stream order: {otherwise}")
