"""Finds the model server of a relayed request, reserves what it may use, and makes its relay."""

from typing import Literal

from app.catalog.permission import require_model
from app.catalog.service import Catalog
from app.chat.relay import Relay, Relays, Request, estimate, rewritten, wants_usage
from app.chat.schemas import Relayed
from app.kit.caller import Caller
from app.limits.allowance import Allowance

Path = Literal["/chat/completions", "/completions", "/embeddings"]
USUAL_ANSWER_TOKENS = 256


class ChatService:
    """Relays."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._relays = Relays()

    async def stop(self, grace_s: float) -> None:
        """Let answers end for some seconds, then end them."""
        await self._relays.stop(grace_s)

    async def relay(
        self,
        caller: Caller,
        allowance: Allowance,
        path: Path,
        asked: Relayed,
        body: bytes,
        *,
        deployment: str | None = None,
    ) -> Relay:
        """Return the answer to a request. `deployment`, where a path names one, is the model that is meant.

        Raises NotFound, PermissionDenied, RateLimited, Unavailable.
        """
        model = deployment or asked.model
        require_model(caller, model)
        if asked.stream:
            allowance.admit_stream()
        upstream = await self._catalog.upstream(model)
        answer = 0 if path == "/embeddings" else USUAL_ANSWER_TOKENS
        tokens = estimate(asked, body, answer) if allowance.counts_tokens else 0
        request = Request(
            client=upstream.model.client,  # type: ignore[attr-defined]
            path=path,
            body=rewritten(body, asked, upstream.name),
            streams=bool(asked.stream),
            with_usage=wants_usage(asked),
        )
        return Relay(request, allowance.admit_run(tokens), self._relays)
