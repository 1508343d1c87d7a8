"""Two tenants on one server, over each engine."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from app.db.database import Database
from tests.fixtures.databases import create_postgres_database
from tests.fixtures.rooms import served
from tests.integration.tenancy.tenants import Tenant, new_tenant


class House(NamedTuple):
    """A server with two tenants, its administrator's client, and its store."""

    admin: Any
    database: Database
    own: Tenant
    other: Tenant


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
async def house(
    request: pytest.FixtureRequest,
    stand_in_url: str,
    conformance: Any,
    tmp_path_factory: pytest.TempPathFactory,
    anyio_backend: str,
) -> AsyncIterator[House]:
    """Give a server on which a caller and another tenant have one of everything."""
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path_factory.mktemp('tenants')}/sovereign_assistant.db"
    else:
        database = await create_postgres_database(request.getfixturevalue("postgres_url"))
    async with served(conformance, DATABASE_URL=database, MODEL_URL=stand_in_url) as api:
        own, other = [await new_tenant(api.client, api.client, word) for word in ("ours", "theirs")]
        yield House(api.client, api.database, own, other)
