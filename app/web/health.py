"""/health: is the process alive, can it work. Open to everyone, so it tells nothing else."""

import asyncio
from datetime import UTC, datetime
from typing import Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from sqlalchemy import literal, select

from app import __version__
from app.catalog.service import Catalog
from app.db.database import Database
from app.errors import ApiError
from app.inference.failures import ModelFailure
from app.kit.wire import Answer

CHECK_TIMEOUT_S = 6.0
_ONE = select(literal(1))

Check = Literal["ok", "unavailable"]


class Health(Answer, kw_only=True, frozen=True):
    """The process answers."""

    status: Literal["healthy"] = "healthy"
    version: str
    timestamp: str


class Checks(Answer, kw_only=True, frozen=True):
    """What the server needs, one by one."""

    database: Check
    model: Check


class Readiness(Answer, kw_only=True, frozen=True):
    """Whether runs can be carried out now."""

    status: Literal["ready", "unavailable"]
    checks: Checks


def _health() -> Health:
    return Health(version=__version__, timestamp=datetime.now(UTC).isoformat())


class HealthController(Controller):
    """Health: for load balancers, containers and people."""

    path = "/health"
    tags = ("Health",)

    @get("/", operation_id="getHealth")
    async def health(self) -> Response[Health]:
        """Tell that the process answers, and its version."""
        return Response(_health())

    @get("/live", operation_id="getLiveness")
    async def live(self) -> Response[Health]:
        """Tell that the process answers. Restart it when this fails."""
        return Response(_health())

    @get("/ready", operation_id="getReadiness")
    async def ready(
        self, database: NamedDependency[Database], catalog: NamedDependency[Catalog]
    ) -> Response[Readiness]:
        """Tell whether database and model server can be used: 200, or 503 while one of them cannot."""
        checks = Checks(database=await _check_database(database), model=await _check_model(catalog))
        ready = checks.database == checks.model == "ok"
        return Response(
            Readiness(status="ready" if ready else "unavailable", checks=checks),
            status_code=200 if ready else 503,
            headers={} if ready else {"retry-after": "5"},
        )


async def _check_database(database: Database) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await database.read(lambda tx: tx.first(_ONE))
    except (ApiError, TimeoutError):
        return "unavailable"
    return "ok"


async def _check_model(catalog: Catalog) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return "ok" if await catalog.served() else "unavailable"
    except (ModelFailure, TimeoutError):
        return "unavailable"
