"""Turns what becomes of a response into the stream of the original: `response.*` events, numbered from 0 without a gap.

A pure function of the engine's events: whoever resumes gets the same frames under the same numbers. Only where the
engine's own numbers have a gap, since a server died with text that was told and not yet on disk, these have it, too.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from app.engine.turn import Stamped
from app.items.schemas import ReasoningText, ShownOutputText
from app.responses.progress import Became, Change, Closed, Extended, Growing, Kind, Opened, Progress
from app.responses.schemas import Response
from app.web.events import frame

encode = msgspec.json.Encoder().encode

DELTAS: dict[Kind, str] = {
    "message": "response.output_text.delta",
    "reasoning": "response.reasoning_text.delta",
    "function_call": "response.function_call_arguments.delta",
}
DONE: dict[Kind, str] = {
    "message": "response.output_text.done",
    "reasoning": "response.reasoning_text.done",
    "function_call": "response.function_call_arguments.done",
}


class ResponseStream:
    """The stream of one response for one reader, who has seen every frame up to number `after`."""

    def __init__(self, response: Response, *, after: int = -1) -> None:
        self.progress = Progress(response)
        self._after = after
        self._number = -1
        self._seen = 0

    def feed(self, events: Sequence[Stamped]) -> bytes:
        """Take events in and return their frames."""
        frames: list[bytes] = []
        for stamped in events:
            self._number += stamped.seq - 1 - self._seen
            self._seen = stamped.seq
            frames += map(self._frames, self.progress.take(stamped.event))
        return b"".join(frames)

    def _frames(self, change: Change) -> bytes:
        match change:
            case Extended():
                return self._delta(change.item, change.text)
            case Opened():
                return self._open(change.item)
            case Closed():
                return self._close(change)
            case Became():
                return self._frame(f"response.{change.name}", response=self.progress.response)

    def _frame(self, name: str, /, **fields: Any) -> bytes:
        self._number += 1
        if self._number <= self._after:
            return b""
        return frame(name.encode(), encode({"type": name, **fields, "sequence_number": self._number}))

    def _delta(self, item: Growing, text: str) -> bytes:
        """Return the frame of a piece. All but the text and the number stays the same, and is encoded once."""
        self._number += 1
        if self._number <= self._after:
            return b""
        if not item.head:
            item.head = _delta_head(item)
        return item.head + encode(text) + b',"sequence_number":%d}\n\n' % self._number

    def _open(self, item: Growing) -> bytes:
        added = self._frame("response.output_item.added", output_index=item.index, item=item.begun())
        if item.kind == "function_call":
            return added
        return added + self._frame("response.content_part.added", **_place(item), part=_part(item.kind, ""))

    def _close(self, change: Closed) -> bytes:
        growing = change.growing
        frames = self._frame(DONE[growing.kind], **_place(growing), **_whole(growing))
        if growing.kind != "function_call":
            part = _part(growing.kind, growing.text)
            frames += self._frame("response.content_part.done", **_place(growing), part=part)
        return frames + self._frame("response.output_item.done", output_index=growing.index, item=change.item)


def _place(item: Growing) -> dict[str, Any]:
    """Return where a piece belongs; calls have no parts."""
    place = {"item_id": item.id, "output_index": item.index}
    return place if item.kind == "function_call" else place | {"content_index": 0}


def _whole(item: Growing) -> dict[str, Any]:
    match item.kind:
        case "message":
            return {"text": item.text, "logprobs": []}
        case "reasoning":
            return {"text": item.text}
        case "function_call":
            return {"name": item.name, "arguments": item.text}


def _part(kind: Kind, text: str) -> ShownOutputText | ReasoningText:
    return ReasoningText(text=text) if kind == "reasoning" else ShownOutputText(text=text)


def _delta_head(item: Growing) -> bytes:
    name = DELTAS[item.kind]
    fields = {"type": name, **_place(item)}
    if item.kind == "message":
        fields["logprobs"] = []
    return b"event: " + name.encode() + b"\ndata: " + encode(fields)[:-1] + b',"delta":'
