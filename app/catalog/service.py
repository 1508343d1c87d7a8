"""Which models are served, what a client's name for one leads to, and who answers while a server is away."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

from msgspec import Struct

from app.catalog.routing import Kind, Route, Table, route_to, table_of
from app.catalog.schemas import Model, Models
from app.catalog.server import SERVES_NOTHING, Server, State
from app.engine.prompt import Upstream
from app.errors import ApiError, NotFound, RateLimited, Unavailable
from app.inference.chunks import ServedModel
from app.inference.failures import ModelBusy, ModelFailure, ModelTimedOut, ModelUnreachable
from app.telemetry import metrics

RETRY_AFTER_S = 5
FULL_RETRY_AFTER_S = 1
FIRST_ANSWER_S = 1.0
"""Seconds that a question waits for servers which were never asked before: those of a process that just began."""

T = TypeVar("T")


class Availability(Struct, frozen=True):
    """Whether every model for chats can be served now, and what is away."""

    state: State
    message: str | None


class Catalog:
    """The model servers in the operator's order, and his aliases."""

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        aliases: Mapping[str, str],
        default_model: str | None,
        context_window: int | None,
    ) -> None:
        self._servers = tuple(servers)
        self.aliases: Mapping[str, str] = dict(aliases)
        """Names of the operator's, of MODEL_ALIASES and of the file, and the models that they lead to."""
        self._default_model = default_model
        self._window = context_window
        self._tables: dict[Kind, Table] = {}
        for server in servers:
            server.on_change = self._lay_routes
        self._lay_routes()

    def _lay_routes(self) -> None:
        self._tables = {
            "chat": table_of(self._servers, "chat", self._window),
            "embeddings": table_of(self._servers, "embeddings", self._window),
        }
        metrics.MODELS.are({name for server in self._servers for name in server.names} | set(self.aliases))

    def _routes(self, name: str, kind: Kind) -> tuple[Route, ...]:
        return self._tables[kind].routes(self.aliases.get(name, name))

    def route(self, name: str, kind: Kind = "chat", *, tried: Sequence[str] = ()) -> Route:
        """Return where a relayed request goes: the first server that is up, has room and was not tried by it.

        Raises NotFound when nobody serves the model, RateLimited when all who do are full, Unavailable when they
        are away.
        """
        routes = self._routes(name, kind)
        usable = _usable([route for route in routes if route.upstream not in tried])
        for route in usable:
            if route.server.has_room:
                return route
        if usable:
            metrics.LIMIT_REFUSALS.labels("model server").inc()
        raise _refusal(name, routes, full=bool(usable))

    @asynccontextmanager
    async def answering(
        self, name: str, kind: Kind, ask: Callable[[Route], AbstractAsyncContextManager[T]]
    ) -> AsyncGenerator[tuple[Route, T], None]:
        """Ask the preferred server and, as long as one cannot be reached, the next; each at most once.

        `ask` makes the request for a route; what it yields is the answer that has begun, after which nothing is
        asked again. Raises what `route` raises, and any ModelFailure but ModelUnreachable as it is.
        """
        tried: list[str] = []
        async with AsyncExitStack() as request:
            while True:
                route = self.route(name, kind, tried=tried)
                with suppress(ModelUnreachable):
                    answer = await request.enter_async_context(route.server.watched(ask(route)))
                    break
                tried.append(route.upstream)
            if route.is_fallback:
                metrics.FAILOVERS.labels(route.upstream).inc()
            yield route, answer

    async def upstream(self, name: str) -> Upstream:
        """Resolve a name for a run: the first server that is up, rather one with room, or else its own queue.

        A name that nobody knows is passed on to the first server: it has the last word (decision 0007). Raises
        ModelUnreachable while all are away, so that the run waits; another ModelFailure where waiting is of no use.
        """
        await self._all_asked()
        routes = self._routes(name, "chat") or (self._first_whatever(name),)
        usable = _usable(routes)
        if not usable:
            raise _waiting(routes[0].server.failure)
        route = next((route for route in usable if route.server.has_room), usable[0])
        return route.target

    def _first_whatever(self, name: str) -> Route:
        return route_to(self._chat[0], self.aliases.get(name, name), self._window)

    @property
    def _chat(self) -> list[Server]:
        return [server for server in self._servers if server.spec.plays("chat")]

    async def _all_asked(self) -> None:
        unasked = [server.asked.wait() for server in self._servers if not server.asked.is_set()]
        if unasked:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*unasked), FIRST_ANSWER_S)

    async def default_model(self) -> str:
        """Return the model of an assistant that names none. Raises Unavailable while the first server names none."""
        if self._default_model is not None:
            return self._default_model
        await self._all_asked()
        first = self._chat[0]
        if first.serves:
            return first.serves[0].id
        raise Unavailable(first.trouble[1] if first.trouble else SERVES_NOTHING, retry_after_s=RETRY_AFTER_S)

    async def listing(self) -> Models:
        """Return every name that a client can use, also of servers that are away now. Raises Unavailable."""
        await self._all_asked()
        served: dict[str, ServedModel] = {}
        for server in self._servers:
            for model in server.serves:
                served.setdefault(model.id, model)
        if not served:
            self._require_all_told()
        targets = {name: model for server in self._servers for name, model in server.names.items()}
        for alias, target in self.aliases.items():
            if target in targets:
                served.setdefault(alias, targets[target])
        return Models(data=[_shown(name, model) for name, model in served.items()])

    async def find(self, name: str) -> Model:
        """Return one model. Raises NotFound, and Unavailable while a server that may serve it has told nothing yet."""
        for model in (await self.listing()).data:
            if model.id == name:
                return model
        self._require_all_told()
        raise NotFound(f"The model '{name}' does not exist", param="model", code="model_not_found")

    def _require_all_told(self) -> None:
        for server in self._servers:
            if not server.has_told:
                raise Unavailable(server.failure.message, retry_after_s=RETRY_AFTER_S)

    async def availability(self) -> Availability:
        """Tell how the model servers are. One that only stands in for others may be away; it is named all the same."""
        await self._all_asked()
        missing = {
            server.trouble[0]
            for server in self._chat
            if server.trouble and not server.spec.fallback_for and not self._is_covered(server)
        }
        troubles = [(server.spec.name, server.trouble[1]) for server in self._servers if server.trouble]
        lines = [f"{name}: {why}" if len(self._servers) > 1 else why for name, why in troubles]
        state: State = "down" if "down" in missing else "loading" if missing else "up"
        return Availability(state, " ".join(lines) or None)

    def _is_covered(self, server: Server) -> bool:
        """Tell whether others answer for all that a server serves."""
        table = self._tables["chat"]
        routes = [table.known[name] for name in server.names] if server.has_told else [table.unknown]
        return bool(routes) and all(any(route.server.usable for route in of_name) for of_name in routes)


def _usable(routes: Sequence[Route]) -> list[Route]:
    """Return the servers that are up, or else those that only a failed request says are away."""
    return [route for route in routes if route.server.usable] or [route for route in routes if route.server.suspected]


def _shown(name: str, model: ServedModel) -> Model:
    return Model(id=name, created=model.created, owned_by=model.owned_by)


def _refusal(name: str, routes: Sequence[Route], *, full: bool) -> ApiError:
    if full:
        text = f"Rate limit reached: the model `{name}` has as many requests at once as it may. Try again in a moment."
        return RateLimited(text, code="rate_limit_exceeded", retry_after_s=FULL_RETRY_AFTER_S)
    if routes:
        return Unavailable(routes[0].server.failure.message, retry_after_s=RETRY_AFTER_S)
    text = f"The model `{name}` does not exist or you do not have access to it."
    return NotFound(text, code="model_not_found")


def _waiting(failure: ModelFailure) -> ModelFailure:
    """Return the failure of a run that finds all servers away: it waits, unless they refuse us for good."""
    if isinstance(failure, ModelBusy | ModelTimedOut | ModelUnreachable):
        return ModelUnreachable(failure.message)
    return type(failure)(failure.message)
