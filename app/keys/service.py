"""Rules of keys: they are made, changed, rotated and revoked, never deleted. Only the text of a key is a secret."""

from collections.abc import Callable
from typing import Any

from app.audit.actions import Action
from app.audit.repository import record
from app.db.database import WriteTx
from app.db.tables import DEFAULT_PROJECT
from app.errors import InvalidRequest
from app.keys.changes import Changes
from app.keys.grant import SURFACES
from app.keys.limits import UNLIMITED
from app.keys.projects import require_open
from app.keys.repository import KeyReader, KeyWriter, state_of
from app.keys.revocations import columns_of
from app.keys.schemas import (
    ApiKey,
    CreateKey,
    NewApiKey,
    RotateKey,
    UpdateKey,
    in_order,
    key_of,
    with_secret,
)
from app.keys.secret import hash_of, new_key, new_key_id
from app.keys.state import KeyState
from app.kit.caller import Caller
from app.kit.clock import Clock
from app.kit.pages import Page, PageQuery
from app.kit.wire import sent_fields, to_json

NO_PEPPER = (
    "Keys cannot be made: KEY_PEPPER is not set. Set it, or KEY_PEPPER_FILE, to a secret of at least 32 characters and "
    "start the server again."
)


class KeyService:
    """Creates, changes, rotates, revokes and lists keys."""

    def __init__(self, changes: Changes, clock: Clock, pepper: bytes | None) -> None:
        self._changes = changes
        self._database = changes.database
        self._clock = clock
        self._pepper = pepper

    async def create(self, caller: Caller, body: CreateKey) -> NewApiKey:
        """Make a key. Raises NotFound for a project that is not there, InvalidRequest for an archived one."""
        now, key_id = self._clock.now(), new_key_id()
        text = new_key(key_id)
        require_future(body.expires_at, now)
        project_id = body.project_id or DEFAULT_PROJECT
        values = {
            "id": key_id,
            "project_id": project_id,
            "name": body.name,
            "scopes": to_json(in_order(body.scopes or SURFACES)),
            "models": to_json(body.models) if body.models else None,
            "limits": to_json(body.limits or UNLIMITED),
            "generation": 0,
            "hash": self._hash(text),
            "created_at": now,
            "changed_at": now * 1000,
            "expires_at": body.expires_at,
        }

        def work(tx: WriteTx) -> ApiKey:
            writer = KeyWriter(tx)
            require_open(writer.locked_project(project_id))
            record(tx, caller, "key.create", key_id, now)
            return key_of(writer.add_key(values))

        return with_secret(await self._database.write(work), text)

    async def page(self, project_id: str | None, query: PageQuery) -> Page[ApiKey]:
        """List keys, of one project or of all."""
        return await self._database.read(lambda tx: KeyReader(tx).keys(project_id, query))

    async def retrieve(self, key_id: str) -> ApiKey:
        """Return one key."""
        return key_of(await self._database.read(lambda tx: KeyReader(tx).require_key(key_id)))

    async def update(self, caller: Caller, key_id: str, body: UpdateKey) -> ApiKey:
        """Change what was sent; the next request is judged by it. Raises InvalidRequest for a revoked key."""
        values, now = columns_of_update(body), self._clock.now()
        require_future(values.get("expires_at"), now)

        def work(tx: WriteTx) -> Any:
            writer = KeyWriter(tx)
            row = writer.locked_key(key_id)
            state_of(row).require_live()
            record(tx, caller, "key.update", key_id, now)
            return writer.change_key(row, values, now)

        async def change() -> ApiKey:
            return self._told(await self._database.write(work))

        return await self._changes.carry_out(change())

    async def rotate(self, caller: Caller, key_id: str, body: RotateKey) -> NewApiKey:
        """Give a key a new secret, and the old one its grace. Raises InvalidRequest for a revoked key."""
        text, now = new_key(key_id), self._clock.now()
        new_hash = self._hash(text)

        def change(state: KeyState) -> KeyState:
            return state.rotated(new_hash, now, body.grace_s)

        rotated = self._secure(caller, "key.rotate", key_id, change, now)
        return with_secret(await self._changes.carry_out(rotated), text)

    async def revoke(self, caller: Caller, key_id: str) -> ApiKey:
        """Refuse a key from the next request on, for ever."""
        now = self._clock.now()
        revoked = self._secure(caller, "key.revoke", key_id, lambda state: state.revoked(now), now)
        return await self._changes.carry_out(revoked)

    async def _secure(
        self, caller: Caller, action: Action, key_id: str, change: Callable[[KeyState], KeyState], now: int
    ) -> ApiKey:
        """Change whether secrets are taken: noted in the journal, committed, told to the ring."""
        undone: list[KeyState] = []

        def work(tx: WriteTx) -> Any:
            writer = KeyWriter(tx)
            row = writer.locked_key(key_id)
            old = state_of(row)
            new = change(old)
            if new == old:
                return row
            record(tx, caller, action, key_id, now)
            self._changes.note(new)
            if new.revoked_at is None:  # whoever wanted a key revoked wants it so after a commit that failed, too
                undone.append(old)
            return writer.change_key(row, columns_of(new), now)

        return self._told(await self._changes.write(work, undone=undone))

    def _told(self, row: Any) -> ApiKey:
        self._changes.ring.forget(row.id)
        return key_of(row)

    def _hash(self, key: str) -> str:
        if self._pepper is None:
            raise InvalidRequest(NO_PEPPER, code="key_pepper_missing")
        return hash_of(self._pepper, key.encode()).hex()


def columns_of_update(body: UpdateKey) -> dict[str, Any]:
    """Return what was sent as column values."""
    values = sent_fields(body)
    if "scopes" in values:
        values["scopes"] = to_json(in_order(values["scopes"]))
    if values.get("models") is not None:
        values["models"] = to_json(values["models"])
    if "limits" in values:
        values["limits"] = to_json(values["limits"] or UNLIMITED)
    return values


def require_future(expires_at: int | None, now: int) -> None:
    """Refuse a second that is over."""
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest(
            f"Invalid 'expires_at': {expires_at} is not in the future; the server's time is {now}.",
            param="expires_at",
            code="invalid_value",
        )
