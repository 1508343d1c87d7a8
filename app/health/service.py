"""Asks what the server needs whether it can be used. Each question has an end."""

import asyncio
from datetime import UTC, datetime

from app import __version__
from app.catalog.service import Catalog
from app.db.database import Database, probe
from app.errors import ApiError
from app.health.schemas import Check, Checks, Health, Readiness
from app.inference.failures import ModelFailure

CHECK_TIMEOUT_S = 6.0


class HealthService:
    """Tells how the server is."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def alive(self) -> Health:
        """Tell that the process answers."""
        return Health(version=__version__, timestamp=datetime.now(UTC).isoformat())

    async def readiness(self) -> Readiness:
        """Ask database and model server."""
        checks = Checks(database=await self._check_database(), model=await self._check_model())
        return Readiness(status="ready" if checks.database == checks.model == "ok" else "unavailable", checks=checks)

    async def _check_database(self) -> Check:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._database.read(probe)
        except (ApiError, TimeoutError):
            return "unavailable"
        return "ok"

    async def _check_model(self) -> Check:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return "ok" if await self._catalog.served() else "unavailable"
        except (ModelFailure, TimeoutError):
            return "unavailable"
