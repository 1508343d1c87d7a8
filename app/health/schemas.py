"""Health on the wire."""

from typing import Literal

from app.kit.wire import Answer

State = Literal["ok", "loading", "unavailable"]
Status = Literal["ready", "loading", "unavailable"]


class Health(Answer, kw_only=True, frozen=True):
    """The process answers."""

    status: Literal["healthy"] = "healthy"
    version: str
    timestamp: str


class Checks(Answer, kw_only=True, frozen=True):
    """What the server needs, one by one. A model server is `loading` until it has served a model once."""

    database: State
    model: State


class Readiness(Answer, kw_only=True, frozen=True):
    """Whether runs can be carried out now; `message` says why not."""

    status: Status
    checks: Checks
    message: str | None
