"""What the key of a request may do. Made once for each key, kept by the ring, and read by every layer above."""

from enum import Enum, auto
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from app.keys.limits import UNLIMITED, Limits

Scope = Literal["assistants", "responses", "chat", "files", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SURFACES: tuple[Scope, ...] = ("assistants", "responses", "chat", "files")
"""What a key may do unless something else is said: all that programs do, nothing that operators do."""

BOOTSTRAP_KEY = "key_bootstrap"


class Grant(Struct, frozen=True, kw_only=True):
    """What a key may do, and for which project."""

    key_id: str
    project_id: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    """Names of models that may be asked for; None for all."""
    limits: Limits = UNLIMITED
    project_limits: Limits = UNLIMITED
    expires_at: int | None = None

    @property
    def is_admin(self) -> bool:
        """Tell whether the key may do everything, for every project."""
        return "admin" in self.scopes

    def may_use(self, model: str) -> bool:
        """Tell whether a model may be asked for by this name."""
        return self.models is None or model in self.models

    def for_project(self, project_id: str, limits: Limits) -> "Grant":
        """Return the same grant for another project."""
        return replace(self, project_id=project_id, project_limits=limits)


class Refusal(Enum):
    """Why a key that was presented lets nobody in."""

    UNKNOWN = auto()
    REPLACED = auto()
    REVOKED = auto()
    EXPIRED = auto()
    ARCHIVED = auto()
    WRONG_PROJECT = auto()
