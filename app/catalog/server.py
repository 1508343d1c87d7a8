"""One model server: what it serves and how it is, known without a request having to fail first.

A prober asks for its list again and again; a request that cannot reach it says so at once, and only the prober brings
it back.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Literal, TypeVar

from msgspec import Struct

from app.inference.chunks import PromptTokens, ServedModel
from app.inference.client import ChatRequest, ChunkBatches, ModelClient
from app.inference.failures import (
    ModelBroke,
    ModelBusy,
    ModelFailure,
    ModelRefused,
    ModelTimedOut,
    ModelUnknown,
    ModelUnreachable,
)
from app.telemetry import metrics
from app.upstreams import UpstreamSpec

log = logging.getLogger(__name__)

STAND_IN_OWNER = "sovereign-standin"
STAND_IN_REFUSED = "MODEL_URL leads to the development stand-in, which ENVIRONMENT=production refuses."
NOT_ASKED = "The model server has not answered yet."
SERVES_NOTHING = "The model server serves no model yet."
LATEST = ":latest"  # Ollama lists `llama3.1:latest` and answers to `llama3.1`, too

State = Literal["unasked", "up", "loading", "down"]
T = TypeVar("T")


class Pace(Struct, frozen=True):
    """Seconds between two questions to a server: while it is up, and while it is not or is in doubt."""

    up_s: float = 2.0
    away_s: float = 0.5


class Server:
    """A model server under watch, and the ChatModel of the runs that it carries out."""

    def __init__(
        self, spec: UpstreamSpec, client: ModelClient, *, refuse_stand_in: bool = False, pace: Pace | None = None
    ) -> None:
        self.spec = spec
        self.client = client
        self.state: State = "unasked"
        self.failure: ModelFailure = ModelUnreachable(NOT_ASKED)
        """Why it is not up; says nothing while it is."""
        self.suspected = False
        """Whether only a request says that it is away, and it was not asked since."""
        self.in_flight = 0
        self.asked = asyncio.Event()
        """Set once it has answered, or failed to."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when it serves other models than before."""
        self._refuse_stand_in = refuse_stand_in
        self._pace = pace or Pace()
        self._was_reached = False
        self._lists(())
        self._doubted = asyncio.Event()
        self._failures = 0
        self._missed = False
        metrics.know_upstream(spec.name, self.state)

    @property
    def usable(self) -> bool:
        """Tell whether to send requests. One that was not asked yet is tried, unless it might be the stand-in."""
        return self.state == "up" or (self.state == "unasked" and not self._refuse_stand_in)

    @property
    def has_room(self) -> bool:
        """Tell whether one more request stays within its concurrency."""
        return self.spec.concurrency is None or self.in_flight < self.spec.concurrency

    @property
    def has_told(self) -> bool:
        """Tell whether it is known what it serves."""
        return self._was_reached or bool(self.spec.models)

    @property
    def trouble(self) -> tuple[State, str] | None:
        """Return how it is and why, None when it is up and serves something."""
        if self.state != "up":
            return self.state, self.failure.message
        return None if self.serves else ("loading", SERVES_NOTHING)

    async def keep_probing(self) -> None:
        """Ask it for ever, at most once in `away_s` seconds whatever is reported."""
        while True:
            await self.probe()
            await asyncio.sleep(self._pace.away_s)
            if self.state == "up":
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._doubted.wait(), self._pace.up_s - self._pace.away_s)

    async def probe(self) -> None:
        """Ask it once what it serves, and note how it is."""
        self._doubted.clear()
        failures = self._failures
        try:
            listed = await self._models()
        except ModelTimedOut as failure:
            # A server under load may be slow to answer once: that is no reason to turn requests away.
            self._missed, missed_before = True, self._missed
            if self.state == "up" and not missed_before:
                self._doubted.set()
            else:
                self.suspected = False
                self._becomes("down", failure)
        except ModelFailure as failure:
            self.suspected = False
            self._becomes(self._state_after(failure), failure)
        else:
            self._missed = False
            if failures == self._failures:  # else a request has failed since this was asked
                self._heard(listed)
        self.asked.set()

    async def _models(self) -> tuple[ServedModel, ...]:
        try:
            listed = tuple((await self.client.models()).data)
        except (ModelUnknown, ModelRefused):
            if not self.spec.models:
                raise
            return ()  # it keeps no list, and is there: what it serves, the operator has said
        if self._refuse_stand_in and any(model.owned_by == STAND_IN_OWNER for model in listed):
            raise ModelBroke(STAND_IN_REFUSED)
        return listed

    def _state_after(self, failure: ModelFailure) -> State:
        """A server that loads answers 503, or refuses connections as vLLM does."""
        if isinstance(failure, ModelBusy):
            return "loading"
        return "loading" if isinstance(failure, ModelUnreachable) and not self._was_reached else "down"

    def _heard(self, listed: tuple[ServedModel, ...]) -> None:
        told_before, self._was_reached = self._was_reached, True
        if listed != self._listed or not told_before:
            self._lists(listed)
            self.on_change()
        self.suspected = False
        self._becomes("up", None)

    def _lists(self, listed: tuple[ServedModel, ...]) -> None:
        """Note what it serves, or served when it was last heard of. Names that the operator gave are believed."""
        self._listed = self.serves = listed
        if self.spec.models:
            known = {model.id: model for model in listed}
            named = (known.get(name) or ServedModel(id=name, owned_by=self.spec.name) for name in self.spec.models)
            self.serves = tuple(named)
        short = {model.id.removesuffix(LATEST): model for model in self.serves}
        self.names: Mapping[str, ServedModel] = short | {model.id: model for model in self.serves}

    def failed(self, failure: ModelFailure) -> None:
        """Note what a request met: a server that cannot be reached gets no more of them until it answers again."""
        if isinstance(failure, ModelUnreachable):
            self._failures += 1
            self.suspected = self.suspected or self.usable
            self._becomes(self._state_after(failure), failure)
        if isinstance(failure, ModelUnreachable | ModelBroke | ModelTimedOut | ModelUnknown):
            self._doubted.set()

    def _becomes(self, state: State, failure: ModelFailure | None) -> None:
        if failure is not None:
            self.failure = failure
        if state != self.state:
            metrics.upstream_became(self.spec.name, self.state, state)
            self.state = state
            reason = {} if failure is None else {"reason": failure.message}
            level = logging.INFO if state == "up" else logging.WARNING
            log.log(level, "model server is %s", state, extra={"upstream": self.spec.name, **reason})

    @asynccontextmanager
    async def watched(self, request: AbstractAsyncContextManager[T]) -> AsyncGenerator[T, None]:
        """Carry out a request, counted among those in flight, its failure noted."""
        self.in_flight += 1
        calls = metrics.UPSTREAM_ACTIVE.labels(self.spec.name)
        calls.inc()
        metrics.UPSTREAM_CALLS.labels(self.spec.name).inc()
        try:
            async with request as answer:
                yield answer
        except ModelFailure as failure:
            self.broke_off(failure)
            raise
        finally:
            calls.dec()
            self.in_flight -= 1

    def broke_off(self, failure: ModelFailure) -> None:
        """Count and note the failure of an answer, also of one that has begun."""
        metrics.UPSTREAM_FAILURES.labels(self.spec.name, failure.kind).inc()
        self.failed(failure)

    def stream(self, request: ChatRequest) -> AbstractAsyncContextManager[ChunkBatches]:
        """Open a streamed completion for a run (see ChatModel)."""
        return self.watched(self.client.stream(request))

    async def tokenize(
        self, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> PromptTokens | None:
        """Count what a chat takes of the window (see ChatModel)."""
        try:
            return await self.client.tokenize(model, messages, tools)
        except ModelFailure as failure:
            self.failed(failure)
            raise
