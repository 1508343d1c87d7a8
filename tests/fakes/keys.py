"""Keys that are kept nowhere: a source that counts how often the ring asks it, and can be held."""

import asyncio
from collections.abc import Mapping

from app.errors import ApiError, Unavailable
from app.keys.entry import Entry
from app.keys.grant import SURFACES, Grant, Scope
from app.keys.limits import UNLIMITED, Limits
from app.keys.secret import hash_of, new_key, new_key_id

PEPPER = b"a pepper that only tests know, 32+"


class KeptKeys:
    """What a database would answer. `asked` has every id that was asked for."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.projects: dict[str, Limits] = {"proj_default": UNLIMITED, "proj_a": UNLIMITED, "proj_b": UNLIMITED}
        self.changes: dict[str, int] = {}
        self.asked: list[str] = []
        self.failure: ApiError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def add(self, *scopes: Scope, project_id: str = "proj_a", expires_at: int | None = None) -> bytes:
        """Keep a new key; return its text."""
        key_id = new_key_id()
        text = new_key(key_id).encode()
        grant = Grant(key_id=key_id, project_id=project_id, scopes=frozenset(scopes or SURFACES), expires_at=expires_at)
        self.entries[key_id] = Entry(grant=grant, hash=hash_of(PEPPER, text))
        return text

    async def key(self, key_id: str) -> Entry | None:
        """Answer with the key as it was when it was asked for."""
        self.asked.append(key_id)
        found = self.entries.get(key_id)
        await self._pass()
        return found

    async def project(self, project_id: str) -> Limits | None:
        """Answer with the project's limits."""
        self.asked.append(project_id)
        found = self.projects.get(project_id)
        await self._pass()
        return found

    async def changes_since(self, second: int) -> Mapping[str, int]:
        """Answer with what a test says was changed."""
        await self._pass()
        return dict(self.changes)

    async def _pass(self) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    def fail(self) -> None:
        """Be out of reach from now on."""
        self.failure = Unavailable("The server could not reach its storage.")
