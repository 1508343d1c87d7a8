"""Asks what the server needs whether it can be used. Each question has an end."""

import asyncio
from datetime import UTC, datetime

from app import __version__
from app.catalog.service import Catalog
from app.db.database import Database, probe
from app.errors import ApiError
from app.health.schemas import Checks, Health, Readiness, State, Status
from app.inference.failures import ModelBusy, ModelFailure, ModelUnreachable

CHECK_TIMEOUT_S = 6.0
MODEL_CHECK_KEPT_S = 1.0


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
        """Tell how the model server is. A server that loads refuses connections, as vLLM does, or answers 503."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                if await self._catalog.served(kept_s=MODEL_CHECK_KEPT_S):
                    return "ok", None
        except ModelBusy as failure:
            return "loading", failure.message
        except ModelUnreachable as failure:
            return ("unavailable" if self._catalog.was_reached else "loading"), failure.message
        except ModelFailure as failure:
            return "unavailable", failure.message
        except TimeoutError:
            return "unavailable", "The model server did not answer in time."
        return "loading", "The model server serves no model yet."
