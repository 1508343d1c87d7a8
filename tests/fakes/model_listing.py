"""A model server's list without a server: what it serves, or its failure to say so; and catalogs made of such lists."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from app.catalog.server import Pace, Server
from app.catalog.service import Catalog
from app.inference.chunks import ServedModel, ServedModels
from app.inference.client import ChatRequest, ModelClient
from app.inference.failures import ModelFailure, ModelUnreachable
from app.upstreams import UpstreamSpec

AWAY = ModelUnreachable("The model server cannot be reached.")


def model(name: str, window: int | None = 8192, owner: str = "vllm") -> ServedModel:
    """Make an entry of a list."""
    return ServedModel(id=name, owned_by=owner, created=1_700_000_000, max_model_len=window)


class Listing:
    """A client that only lists, and answers whatever it is asked with its own name."""

    def __init__(self, *served: ServedModel) -> None:
        self.served = served
        self.failure: ModelFailure | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def models(self) -> ServedModels:
        """Answer once the gate is open."""
        self.asked += 1
        served, failure = self.served, self.failure
        await asyncio.sleep(0)
        await self.gate.wait()
        if failure is not None:
            raise failure
        return ServedModels(data=list(served))

    def ask(self, name: str) -> AbstractAsyncContextManager[str]:
        """Answer a request with the name that was asked for, or fail as the list does."""

        @asynccontextmanager
        async def answer() -> AsyncIterator[str]:
            if self.failure is not None:
                raise self.failure
            yield name

        return answer()

    def stream(self, request: ChatRequest) -> AbstractAsyncContextManager[str]:
        """Answer a chat with the name that was asked for, or fail as the list does."""
        return self.ask(request.model)

    async def tokenize(self, *_: Any) -> None:
        """Count nothing, or fail as the list does."""
        if self.failure is not None:
            raise self.failure


def server_of(
    listing: Listing, name: str = "main", *, refuse: bool = False, pace: Pace | None = None, **spec: Any
) -> Server:
    """Make a server that was not asked yet."""
    described = UpstreamSpec(name=name, url="http://127.0.0.1:1/v1", **spec)
    return Server(described, cast(ModelClient, listing), refuse_stand_in=refuse, pace=pace)


async def catalog_of(*servers: Server, **options: Any) -> Catalog:
    """Make a catalog of servers that have been asked once."""
    catalog = unasked_catalog(*servers, **options)
    for server in servers:
        await server.probe()
    return catalog


def unasked_catalog(*servers: Server, **options: Any) -> Catalog:
    """Make a catalog of servers as they are."""
    fixed: dict[str, Any] = {"aliases": {}, "default_model": None, "context_window": None}
    return Catalog(servers, **(fixed | options))
