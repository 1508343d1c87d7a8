"""Two tenants on one server, over each engine. What is relayed is the stand-in's to the field, so it is not checked."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx2
import pytest

from app.db.database import Database
from app.main import Parts, create_framework_app, wrap
from app.settings import load_settings
from tests.fixtures.databases import create_postgres_database
from tests.fixtures.lifespan import started
from tests.fixtures.servers import API_KEY, KEY_PEPPER
from tests.integration.tenancy.tenants import Caller, Tenant, new_tenant


class House(NamedTuple):
    """A server with two tenants, its administrator's client, and its store."""

    admin: Caller
    database: Database
    own: Tenant
    other: Tenant


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
async def house(
    request: pytest.FixtureRequest,
    stand_in_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    anyio_backend: str,
) -> AsyncIterator[House]:
    """Give a server on which a caller and another tenant have one of everything."""
    if request.param == "sqlite":
        database = f"sqlite:///{tmp_path_factory.mktemp('tenants')}/sovereign_assistant.db"
    else:
        database = await create_postgres_database(request.getfixturevalue("postgres_url"))
    parts = Parts()
    settings = load_settings(
        {"API_KEY": API_KEY, "KEY_PEPPER": KEY_PEPPER, "DATABASE_URL": database, "MODEL_URL": stand_in_url}
    )
    app = wrap(create_framework_app(settings, parts), settings)
    async with (
        started(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://api") as client,
    ):
        admin = Caller(client, API_KEY)
        own, other = [await new_tenant(admin, word) for word in ("ours", "theirs")]
        yield House(admin, parts.database, own, other)
