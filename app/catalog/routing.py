"""Which servers can answer for a model's name, in order of preference. Pure: how the servers are is asked later."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from app.catalog.server import Server
from app.inference.client import ModelClient

Kind = Literal["chat", "embeddings"]
ANY_NAME = ""


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
    names = {server.spec.name: server.names() for server in playing}
    known = {
        name: _routes(playing, lambda server, name=name: name in names[server.spec.name], name, window)  # type: ignore[misc]
        for served in names.values()
        for name in served
    }
    return Table(known, _routes(playing, lambda server: not server.has_told, ANY_NAME, window))


def _routes(
    servers: Sequence[Server], serves: Callable[[Server], bool], name: str, window: int | None
) -> tuple[Route, ...]:
    mains: set[str] = set()
    found: list[Route] = []
    for server in servers:
        if serves(server):
            mains.add(server.spec.name)
            found.append(route_to(server, name, window, is_fallback=bool(found)))
        elif server.spec.fallback_model is not None and mains.intersection(server.spec.fallback_for):
            found.append(route_to(server, server.spec.fallback_model, window, is_fallback=True))
    return tuple(found)


def route_to(server: Server, name: str, window: int | None, *, is_fallback: bool = False) -> Route:
    """Make a route; its window is what the operator said of the server, or of all, or what the server states."""
    model = server.names().get(name)
    stated = model.max_model_len if model is not None else None
    return Route(server, name, server.spec.context_window or window or stated, is_fallback)
