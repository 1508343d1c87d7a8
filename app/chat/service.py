"""Checks a relayed request, reserves what it may use, begins what is to be remembered, and makes its relay."""

from typing import Any

import msgspec

from app.catalog.permission import require_model
from app.catalog.service import Catalog
from app.chat.addresses import require_no_addresses
from app.chat.memory import ChatMemory, ChatTurn
from app.chat.refusals import error_of_failure
from app.chat.relay import Relay, Relays, Request
from app.chat.remembering import Remembering
from app.chat.schemas import CreateChatCompletion, CreateEmbedding, Relayed
from app.inference.failures import ModelFailure
from app.inference.tokens import CHARACTERS_PER_TOKEN
from app.kit.caller import Caller
from app.kit.ids import new_completion_id
from app.limits.allowance import Allowance
from app.stored.service import StoredCompletions
from app.web.queries import require_id

USUAL_ANSWER_TOKENS = 256


class ChatService:
    """Relays requests to model servers."""

    def __init__(self, catalog: Catalog, memory: ChatMemory, stored: StoredCompletions) -> None:
        self._catalog = catalog
        self._memory = memory
        self._stored = stored
        self._relays = Relays()

    async def stop(self, grace_s: float) -> None:
        """Let answers end for some seconds, then end them."""
        await self._relays.stop(grace_s)

    async def relay(
        self,
        caller: Caller,
        allowance: Allowance,
        path: str,
        asked: Relayed,
        body: bytes,
        *,
        deployment: str | None = None,
    ) -> Relay:
        """Return the answer to a request. `deployment`, where a path names one, is the model that is meant.

        Raises InvalidRequest, NotFound, PermissionDenied, RateLimited, Unavailable.
        """
        model = deployment or asked.model
        require_model(caller, model)
        require_no_addresses(body)
        if asked.stream:
            allowance.admit_stream()
        reservation = allowance.admit_run(_estimate(asked, body) if allowance.counts_tokens else 0)
        try:
            remembering = await self._remembering(caller, model, asked, body)
        except BaseException:
            reservation.release()
            raise
        request = Request(
            model=model,
            kind="embeddings" if isinstance(asked, CreateEmbedding) else "chat",
            path=path,
            body=body,
            asked=asked,
        )
        return Relay(self._catalog, request, reservation, self._relays, remembering)

    async def _remembering(self, caller: Caller, model: str, asked: Relayed, body: bytes) -> Remembering | None:
        """Begin what is to be remembered of a chat."""
        if not isinstance(asked, CreateChatCompletion) or (asked.thread_id is None and not asked.store):
            return None
        completion_id = new_completion_id()
        request: dict[str, Any] = msgspec.json.decode(body)
        turn = None
        if asked.thread_id is not None:
            require_id("thread_id", asked.thread_id, "thread")
            turn = await self._turn(caller, model, asked, request, completion_id)
        return Remembering(caller, completion_id, request, turn, self._stored if asked.store else None)

    async def _turn(
        self, caller: Caller, model: str, asked: CreateChatCompletion, request: dict[str, Any], completion_id: str
    ) -> ChatTurn:
        assert asked.thread_id is not None
        try:
            upstream = await self._catalog.upstream(model)
            return await self._memory.begin(
                caller,
                asked.thread_id,
                request["messages"],
                upstream,
                answer_tokens=asked.answer_tokens,
                tools=request.get("tools"),
                chat_id=completion_id,
            )
        except ModelFailure as failure:
            raise error_of_failure(failure) from None


def _estimate(asked: Relayed, body: bytes) -> int:
    """Return roughly what a request will use, prompt and answer."""
    answer = 0 if isinstance(asked, CreateEmbedding) else USUAL_ANSWER_TOKENS
    return len(body) // CHARACTERS_PER_TOKEN + (answer if asked.answer_tokens is None else asked.answer_tokens)
