"""Whom a command of administration asks: the API that runs, or, when none does, its SQLite file.

Only one process writes the file, so a running API is asked over HTTP. With the API stopped the file is opened under
the same lock and changed by the same rules.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from app.db.opening import REFUSALS, open_database, sqlite_file
from app.db.tables import DEFAULT_PROJECT
from app.errors import ApiError
from app.keys.opening import Keys, opened_keys
from app.kit.caller import Caller
from app.kit.clock import SystemClock
from app.settings import Settings
from app.web.bodies import decode_body
from ops.commands.settings import fail, settings_or_exit
from ops.remote import NobodyListens, Refused, Remote

LOCAL = Caller(project_id=DEFAULT_PROJECT, key_id="ops", request_id="ops", address=None)
"""Who the audit says it was when the file was opened: somebody at the machine, without a key."""

Json = dict[str, Any]


class Call(Struct, frozen=True, kw_only=True):
    """One request to the administration, and the same on the file."""

    method: str
    path: str
    work: Callable[[Keys], Awaitable[Struct]]
    body: Struct | None = None
    query: dict[str, str] = {}


def carry_out(call: Call, url: str | None) -> Json:
    """Return the answer; what goes wrong is one line and exit status 1, or 2 for bad settings."""
    settings = settings_or_exit()
    remote = Remote(settings, url)
    try:
        return over_http(call, remote)
    except Refused as refused:
        fail(str(refused))
    except NobodyListens:
        file = sqlite_file(settings.database_url)
        if url is not None or file is None:
            fail(f"no API answers at {remote.address}")
        if not file.exists():
            fail(f"no API answers at {remote.address}, and there is no database {file}")
    try:
        return asyncio.run(on_file(call, settings))
    except ApiError as refused:
        fail(refused.message)
    except REFUSALS as problem:
        fail(f"no API answers at {remote.address}, and the database cannot be used: {problem}")


def over_http(call: Call, remote: Remote) -> Json:
    """Ask a running API. Raises NobodyListens and Refused."""
    body = None if call.body is None else msgspec.json.encode(call.body)
    try:
        found: Json = json.loads(remote.ask(call.method, call.path, query=call.query, body=body))
    except ValueError:
        raise remote.stranger() from None
    return found


async def on_file(call: Call, settings: Settings) -> Json:
    """Do on the file what the API would have done. Raises ApiError and one of REFUSALS."""
    if call.body is not None:
        decode_body(type(call.body), msgspec.json.encode(call.body))
    database = await open_database(settings.database_url)
    try:
        async with opened_keys(settings, database, SystemClock()) as keys:
            found: Json = msgspec.to_builtins(await call.work(keys))
            return found
    finally:
        await database.close()
