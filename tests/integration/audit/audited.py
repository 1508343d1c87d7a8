"""Audits over an open database, and what tests write into them."""

from typing import Any

from sqlalchemy import text

from app.audit.actions import Action
from app.audit.denials import Denials
from app.audit.keeper import AuditKeeper
from app.audit.repository import record
from app.audit.service import AuditService
from app.db.database import Database, WriteTx
from app.kit.caller import Caller
from tests.fakes.clock import SetClock

CALLER = Caller(project_id="proj_1", key_id="key_1", request_id="req_1", address="10.0.0.1")


class Audited:
    """An audit in this process; two of them over one database are two replicas."""

    def __init__(self, database: Database) -> None:
        self.clock = SetClock()
        self.database = database
        self.denials = Denials(self.clock)
        self.keeper = AuditKeeper(database, self.denials)
        self.service = AuditService(database, self.keeper)

    async def write(self, count: int, action: Action = "thread.create") -> None:
        """Record something so often, in transactions of their own."""
        for number in range(count):
            await self.database.write(lambda tx, number=number: add(tx, f"thread_{number}", action))

    async def alter(self, statement: str, **values: Any) -> None:
        """Do what only somebody with the file can do."""
        await self.database.write(lambda tx: tx.run(text(statement), values))

    async def rows(self) -> list[tuple[Any, ...]]:
        """Return position, object and hash of every row, in the order in which they were written."""
        statement = text("SELECT position, object_id, hash FROM audit ORDER BY seq")
        return [tuple(row) for row in await self.database.read(lambda tx: tx.all(statement))]


def add(tx: WriteTx, object_id: str, action: Action = "thread.create") -> None:
    """Record one action on an object."""
    record(tx, CALLER, action, object_id, 1_700_000_000)
