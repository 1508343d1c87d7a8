"""Which servers can answer for a model's name, in order of preference. How the servers are is asked later."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from app.catalog.server import Server
from app.engine.prompt import Upstream
from app.inference.chunks import PromptTokens
from app.inference.client import ChatRequest, ChunkBatches, ModelClient
from app.telemetry import metrics

Kind = Literal["chat", "embeddings"]
ANY_NAME = ""


class StandIn(Struct, frozen=True):
    """A server in the place of the preferred one: its answers are counted (see ChatModel)."""

    server: Server

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChunkBatches, None]:
        """Open a streamed completion."""
        async with self.server.stream(request) as chunks:
            metrics.FAILOVERS.labels(self.server.spec.name).inc()
            yield chunks

    async def tokenize(
        self, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> PromptTokens | None:
        """Count what a chat takes of the window."""
        return await self.server.tokenize(model, messages, tools)


class Route(Struct, frozen=True):
    """Where a request goes: a server and the name that it knows the model by."""

    server: Server
    name: str
    window: int | None
    """Tokens of a prompt and its answer, None where nobody said."""
    is_fallback: bool

    @property
    def client(self) -> ModelClient:
        """Return what speaks to the server."""
        return self.server.client

    @property
    def upstream(self) -> str:
        """Return the server's name."""
        return self.server.spec.name

    @property
    def target(self) -> Upstream:
        """Return what prompts are made for."""
        return Upstream(StandIn(self.server) if self.is_fallback else self.server, self.name, self.window)

    def headers(self) -> dict[str, str]:
        """Return what tells a client that another server than the preferred one answered; nothing otherwise."""
        return {"x-model-upstream": self.upstream, "x-model-fallback": "true"} if self.is_fallback else {}


class Table(Struct, frozen=True):
    """The routes of each name for one kind of request, and those of a name that nobody is known to serve.

    The latter are the servers that have not told yet what they serve, and those that stand in for them.
    """

    known: Mapping[str, tuple[Route, ...]]
    unknown: tuple[Route, ...]

    def routes(self, name: str) -> tuple[Route, ...]:
        """Return who can answer for a name; none when all servers have told and none serves it."""
        found = self.known.get(name)
        if found is not None:
            return found
        return tuple(replace(route, name=route.name or name) for route in self.unknown)


def table_of(servers: Sequence[Server], kind: Kind, window: int | None) -> Table:
    """Lay down the routes of every name. `window` holds where a server's own is not set."""
    playing = [server for server in servers if server.spec.plays(kind)]
    names = {name for server in playing for name in server.names}
    silent = [server for server in playing if not server.has_told]
    return Table(
        {name: _routes(playing, [one for one in playing if name in one.names], name, window) for name in names},
        _routes(playing, silent, ANY_NAME, window),
    )


def _routes(servers: Sequence[Server], serving: Sequence[Server], name: str, window: int | None) -> tuple[Route, ...]:
    """Return the ways to those that serve a name and to those that stand in for one of them, in order."""
    mains = {server.spec.name for server in serving}
    found: list[Route] = []
    for server in servers:
        if server in serving:
            found.append(route_to(server, name, window, is_fallback=bool(found)))
        elif server.spec.fallback_model is not None and mains.intersection(server.spec.fallback_for):
            found.append(route_to(server, server.spec.fallback_model, window, is_fallback=True))
    return tuple(found)


def route_to(server: Server, name: str, window: int | None, *, is_fallback: bool = False) -> Route:
    """Make a route; its window is what the operator said of the server, or of all, or what the server states."""
    model = server.names.get(name)
    stated = model.max_model_len if model is not None else None
    return Route(server, name, server.spec.context_window or window or stated, is_fallback)
