"""Health on the wire."""

from typing import Literal

from app.kit.wire import Answer

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
