"""The order of an Assistants stream (openai_wire.md 3.1). The shape of each event is not its matter."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from .events import ASSISTANT_EVENTS, ENDS_OF_RUN

# Each object goes through its events in this order, none twice but deltas; all others end it. Only a run may go back:
# it is queued again with its tool outputs, or when an attempt was given up.
RANKS = {"created": 0, "queued": 1, "in_progress": 2, "requires_action": 3, "cancelling": 4}
END = 5
GOES_BACK_FROM = (RANKS["in_progress"], RANKS["requires_action"])
KINDS = ("thread.run.step", "thread.run", "thread.message")


class StreamOrder:
    """Follows one stream; `feed` and `finish` raise AssertionError on the first event out of place.

    A replayed stream goes on after requires_action, and may begin in the middle of what it tells.
    """

    def __init__(self, opening: Sequence[str] = (), *, replayed: bool = False) -> None:
        self._opening = list(opening)
        self._replayed = replayed
        self._joined = False
        self._queued: set[str] = set()
        self._half_told: set[str] = set()
        self._ranks: dict[tuple[str, str], int] = {}
        self._texts: dict[str, dict[int, str]] = defaultdict(dict)
        self._before: str | None = None
        self.done = False

    def feed(self, event: str | None, payload: Any) -> None:
        """Take the next event, with its data decoded."""
        self._check_end(event)
        if self._before is None:
            self._joined = self._replayed and event != "thread.run.created"
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
        paused = self._replayed and self._before in (None, "thread.run.requires_action")
        if event == "done":
            _demand(ended or paused, f"done comes after {self._before}, not after the end of the run")
        else:
            _demand(paused or not ended, f"{event} comes after {self._before}, which ends the stream")

    def _advance(self, event: str, payload: dict[str, Any]) -> None:
        kind = next((kind for kind in KINDS if event.startswith(f"{kind}.")), None)
        if kind is None:
            return
        stage, key = event.rpartition(".")[2], (kind, payload["id"])
        before = self._ranks.get(key)
        if before is None and self._joined and stage != "created":
            self._half_told.add(payload["id"])
            before = -1
        if stage == "delta":
            _demand(before is not None, f"{event} of {payload['id']} comes before {kind}.created")
            _demand(before != END, f"{event} of {payload['id']} comes after its end")
            self._ranks.setdefault(key, -1)
            if kind == "thread.message":
                self._collect(payload)
            return
        rank = RANKS.get(stage, END)
        again = stage == "queued" and payload["id"] in self._queued and before in GOES_BACK_FROM
        _demand(before is None or before < rank or again, f"{event} of {payload['id']} comes late or twice")
        _demand(before is not None or kind != "thread.message" or rank == 0, f"{event} comes before created")
        self._ranks[key] = rank
        if stage == "queued":
            self._queued.add(payload["id"])
        self._close(event, payload)

    def _collect(self, payload: dict[str, Any]) -> None:
        texts = self._texts[payload["id"]]
        for part in payload["delta"]["content"]:
            if part["type"] == "text":
                texts[part["index"]] = texts.get(part["index"], "") + part["text"]["value"]

    def _close(self, event: str, payload: dict[str, Any]) -> None:
        if event == "thread.message.completed" and payload["id"] not in self._half_told:
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
