"""The key ring: who is let in. What every request passes, so a key is read once and then kept in memory.

A change of this process is told to the ring before it is answered. What other processes change on the same database
is looked for every second; while that cannot be done nothing is kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from hmac import compare_digest
from typing import Protocol, TypeVar

from app.db.tables import DEFAULT_PROJECT
from app.errors import ApiError
from app.keys.entry import Entry
from app.keys.grant import BOOTSTRAP_KEY, Grant, Refusal
from app.keys.limits import UNLIMITED, Limits
from app.keys.secret import hash_of, key_id_of
from app.kit.clock import Clock

T = TypeVar("T")

KEYS_KEPT = 16_384
PROJECTS_KEPT = 1024
WATCH_S = 1.0
LOOK_BACK_S = 120
"""How far back changes are looked for again: more than the clocks of two replicas differ, or a commit takes."""


class Source(Protocol):
    """Where keys come from that are not in memory."""

    async def key(self, key_id: str) -> Entry | None:
        """Return a key, if there is one."""
        ...

    async def project(self, project_id: str) -> Limits | None:
        """Return the limits of a project that is there and not archived."""
        ...

    async def changes_since(self, second: int) -> Mapping[str, int]:
        """Return the ids of what was changed since, each with a number that rises with its changes."""
        ...


class KeyRing:
    """Says for each key that is presented what it grants, or why it does not."""

    def __init__(
        self, source: Source, clock: Clock, *, pepper: bytes | None, api_key: str | None, size: int = KEYS_KEPT
    ) -> None:
        self._source = source
        self._clock = clock
        self._pepper = pepper
        self._api_key = api_key.encode() if api_key else None
        self._bootstrap = Grant(key_id=BOOTSTRAP_KEY, project_id=DEFAULT_PROJECT, scopes=frozenset({"admin"}))
        self._size = size
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._projects: OrderedDict[str, Limits] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Entry | None]] = {}
        self._told = 0
        self._handled: dict[str, int] = {}
        self._used: dict[str, int] = {}

    async def admit(self, presented: bytes, project: str | None = None) -> Grant | Refusal:
        """Return what a key grants, in the project that the request names. Reads nothing for a key that is kept."""
        if self._api_key is not None and compare_digest(presented, self._api_key):
            return await self._in_project(self._bootstrap, project or DEFAULT_PROJECT)
        key_id = key_id_of(presented)
        if key_id is None or self._pepper is None:
            return Refusal.UNKNOWN
        entry = self._entries.get(key_id)
        if entry is None:
            entry = await self._loaded(key_id)
            if entry is None:
                return Refusal.UNKNOWN
        else:
            self._entries.move_to_end(key_id)
        now = self._clock.now()
        refusal = entry.refusal(hash_of(self._pepper, presented), now)
        if refusal is not None:
            return refusal
        self._used[key_id] = now
        if project is None or project == entry.grant.project_id:
            return entry.grant
        return await self._in_project(entry.grant, project)

    async def _in_project(self, grant: Grant, project_id: str) -> Grant | Refusal:
        """Let an administrator's key act for any project that is in use; which others exist is not told."""
        if not grant.is_admin:
            return Refusal.WRONG_PROJECT
        limits = self._projects.get(project_id)
        if limits is None:
            told = self._told
            limits = await self._source.project(project_id)
            if limits is None:
                return Refusal.WRONG_PROJECT
            if self._told == told:
                _keep(self._projects, project_id, limits, PROJECTS_KEPT)
        if grant.project_id == project_id and limits == UNLIMITED:
            return grant
        return grant.for_project(project_id, limits)

    async def _loaded(self, key_id: str) -> Entry | None:
        """Read a key; requests that come meanwhile wait for the same read."""
        task = self._loading.get(key_id)
        if task is None:
            task = self._loading[key_id] = asyncio.create_task(self._load(key_id), name="key")
        return await asyncio.shield(task)

    async def _load(self, key_id: str) -> Entry | None:
        told = self._told
        try:
            entry = await self._source.key(key_id)
        finally:
            if self._told == told:
                self._loading.pop(key_id, None)
        if entry is not None and self._told == told:  # else what was read may be from before the change
            _keep(self._entries, key_id, entry, self._size)
        return entry

    def forget(self, *changed: str) -> None:
        """Read keys or projects anew when they are next asked for, with a project all its keys.

        Nothing is put in their place: of two changes that are told in the wrong order the older would stay.
        """
        self._begin_anew()
        ids = set(changed)
        for project_id in ids & self._projects.keys():
            del self._projects[project_id]
        of_project = [key for key, entry in self._entries.items() if entry.grant.project_id in ids]
        for key_id in (ids & self._entries.keys()).union(of_project):
            del self._entries[key_id]

    def _begin_anew(self) -> None:
        """Let no read that is under way, and that may have begun before a change, be kept or waited for."""
        self._told += 1
        self._loading.clear()

    def take_used(self) -> dict[str, int]:
        """Return when keys were last used since this was last asked."""
        used, self._used = self._used, {}
        return used

    async def keep_watching(self) -> None:
        """Look every second for what other processes changed, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            with suppress(ApiError):
                await self.look()

    async def look(self) -> None:
        """Forget what other processes changed. When that cannot be learned, forget everything and raise."""
        try:
            changes = await self._source.changes_since(self._clock.now() - LOOK_BACK_S)
        except ApiError:
            self._begin_anew()
            self._entries.clear()
            self._projects.clear()
            raise
        fresh = [changed for changed, number in changes.items() if self._handled.get(changed) != number]
        self._handled = dict(changes)
        if fresh:
            self.forget(*fresh)


def _keep(kept: "OrderedDict[str, T]", key: str, value: T, size: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > size:
        kept.popitem(last=False)
