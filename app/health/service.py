"""Asks what the server needs whether it can be used. Each question has an end."""

import asyncio
from datetime import UTC, datetime

from app import __version__
from app.catalog.service import Catalog
from app.db.database import Database, probe
from app.errors import ApiError
from app.health.schemas import Checks, Health, Readiness, State, Status

CHECK_TIMEOUT_S = 6.0
MODEL_STATES: dict[str, State] = {"up": "ok", "loading": "loading", "down": "unavailable"}


class HealthService:
    """Tells how the server is."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def alive(self) -> Health:
        """Tell that the process answers."""
        return Health(version=__version__, timestamp=datetime.now(UTC).isoformat())

    async def readiness(self) -> Readiness:
        """Ask the database, and how the model servers are."""
        database, (model, message) = await asyncio.gather(self._check_database(), self._check_model())
        if database != "ok":
            message = "The database cannot be read."
        checks = Checks(database=database, model=model)
        states = {database, model}
        status: Status = "ready" if states == {"ok"} else "unavailable" if "unavailable" in states else "loading"
        return Readiness(status=status, checks=checks, message=message)

    async def _check_database(self) -> State:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._database.read(probe)
        except (ApiError, TimeoutError):
            return "unavailable"
        return "ok"

    async def _check_model(self) -> tuple[State, str | None]:
        """Tell how the model servers are, as they were asked last: a few seconds ago at most."""
        found = await self._catalog.availability()
        return MODEL_STATES[found.state], found.message
