"""What decides whether a secret is taken, and how that changes. Pure.

A state is part of a key's row, and it is what the revocation journal keeps of a change.
"""

from msgspec import Struct
from msgspec.structs import replace

from app.errors import InvalidRequest


class KeyState(Struct, frozen=True, kw_only=True, tag_field="type", tag="key"):
    """The secrets of a key, as hashes. `generation` rises with every rotation and with the revocation."""

    id: str
    generation: int
    hash: str
    previous_hash: str | None = None
    previous_until: int | None = None
    rotated_at: int | None = None
    revoked_at: int | None = None

    def require_live(self) -> None:
        """Raise InvalidRequest for a key that was revoked: that is final."""
        if self.revoked_at is not None:
            raise InvalidRequest(f"API key '{self.id}' was revoked.", code="key_revoked")

    def rotated(self, new_hash: str, now: int, grace_s: int) -> "KeyState":
        """Return the state in which a new secret is taken, and the old one for the grace. Raises InvalidRequest.

        Without grace the old hash is not kept at all, so that no clock that goes back brings it to life.
        """
        self.require_live()
        return replace(
            self,
            generation=self.generation + 1,
            hash=new_hash,
            previous_hash=self.hash if grace_s else None,
            previous_until=now + grace_s if grace_s else None,
            rotated_at=now,
        )

    def revoked(self, now: int) -> "KeyState":
        """Return the state in which no secret is taken; of one that was revoked before, that very state."""
        if self.revoked_at is not None:
            return self
        return replace(self, generation=self.generation + 1, revoked_at=now)


class ProjectState(Struct, frozen=True, kw_only=True, tag_field="type", tag="project"):
    """A project that was archived: its keys let nobody in."""

    id: str
    archived_at: int


State = KeyState | ProjectState
