"""What of a relayed chat is kept: in its thread, as a stored completion, or both. The relay tells it what came."""

import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.chat.assembling import Assembling
from app.chat.memory import ChatTurn
from app.chat.naming import Naming
from app.engine.events import MessageCut
from app.errors import ApiError
from app.kit.caller import Caller
from app.stored.service import StoredCompletions

log = logging.getLogger(__name__)

_END = re.compile(rb"\r?\n\r?\n")
_DONE = b"[DONE]"


class Remembering:
    """One chat that is kept. It ends once: `whole` or `assembled` when the answer is there, else `cut` or `refused`.

    `named` gives what was streamed the chat's id, under which the answer is kept.
    """

    def __init__(
        self,
        caller: Caller,
        completion_id: str,
        request: Mapping[str, Any],
        turn: ChatTurn | None,
        stored: StoredCompletions | None,
    ) -> None:
        self.completion_id = completion_id
        self.turn = turn
        self._naming = Naming(completion_id)
        self.named = self._naming.events
        self._caller = caller
        self._request = request
        self._stored = stored
        self._tail = b""
        self._assembling = Assembling()
        self._said: list[str] = []
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take in what one read of a stream brought."""
        *events, self._tail = _END.split(self._tail + data)
        for event in events:
            payload = event.removeprefix(b"data:").strip()
            if event.startswith(b"data:") and payload != _DONE:
                self._chunk(payload)

    def _chunk(self, payload: bytes) -> None:
        try:
            chunk = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if not isinstance(chunk, dict) or "choices" not in chunk:
            return
        self._assembling.feed(chunk)
        for choice in chunk["choices"]:
            if choice.get("index") == 0:
                self._said.append((choice.get("delta") or {}).get("content") or "")

    async def whole(self, body: bytes) -> bytes:
        """Keep an answer that came in one piece; return what the client then gets. Raises Unavailable."""
        try:
            completion = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            completion = None
        await self._keep(completion if isinstance(completion, dict) else None)
        return self._naming.whole(body)

    async def assembled(self) -> None:
        """Keep an answer that was streamed, before the client gets its end. Raises Unavailable."""
        await self._keep(self._assembling.completion())

    async def _keep(self, completion: dict[str, Any] | None) -> None:
        if completion is None or not completion.get("choices"):
            await self.cut("run_failed")
            return
        if self._stored is not None:
            await self._stored.keep(self._caller, self._request, {**completion, "id": self.completion_id})
        if self.turn is not None:
            first = completion["choices"][0]
            await self.turn.finish(first["message"].get("content") or "", first.get("finish_reason"))
        self._ended = True

    async def cut(self, reason: MessageCut) -> None:
        """Keep what there is of an answer in the thread: the client got no end of it."""
        if self.turn is not None and not self._ended:
            self._ended = True
            await self.turn.give_up("".join(self._said), reason)

    async def refused(self) -> None:
        """Leave the thread as it was: the client is answered with an error."""
        if self.turn is not None and not self._ended:
            self._ended = True
            await self.turn.take_back()

    async def assembled_or_error(self) -> ApiError | None:
        """Keep a streamed answer; return what the client is told when it could not be kept."""
        try:
            await self.assembled()
        except ApiError as error:
            log.warning("a relayed answer could not be kept")
            return error
        return None
