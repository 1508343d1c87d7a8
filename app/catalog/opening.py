"""Puts the catalog together from the settings, and keeps its servers under watch while a block runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from app.catalog.server import Server
from app.catalog.service import Catalog
from app.inference.client import ModelClient
from app.kit.tasks import TaskOwner
from app.settings import Settings, models_of
from app.upstreams import UpstreamSpec


@asynccontextmanager
async def opened_catalog(settings: Settings) -> AsyncGenerator[Catalog, None]:
    """Give the catalog for a block; at its end every connection is closed."""
    described = models_of(settings)
    refuse = settings.environment == "production"
    servers = [Server(spec, client_of(spec, settings), refuse_stand_in=refuse) for spec in described.upstreams]
    probers = TaskOwner()
    for server in servers:
        probers.start(server.keep_probing(), name=f"health of {server.spec.name}")
    try:
        yield Catalog(
            servers,
            aliases=described.aliases,
            default_model=settings.model_name,
            context_window=settings.context_window,
        )
    finally:
        await probers.close()
        for server in servers:
            await server.client.close()


def client_of(spec: UpstreamSpec, settings: Settings) -> ModelClient:
    """Build a model server's client."""
    return ModelClient(
        spec.url,
        api_key=spec.api_key,
        connect_timeout_s=spec.connect_timeout_s or settings.model_connect_timeout_s,
        first_token_timeout_s=spec.first_token_timeout_s or settings.model_first_token_timeout_s,
        idle_timeout_s=spec.idle_timeout_s or settings.model_idle_timeout_s,
    )
