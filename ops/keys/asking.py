"""Whom a command of administration asks: the API that runs, or, when none does, its SQLite file.

Only one process writes the file, so a running API is asked over HTTP. With the API stopped the file is opened under
the same lock and changed by the same rules.
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

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
from ops.commands.dev import KEY_FILE
from ops.commands.settings import fail, settings_or_exit

TIMEOUT_S = 30.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - addresses to listen on, and where to ask then

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


class NobodyListens(Exception):
    """No server is there to be asked."""


def carry_out(call: Call, url: str | None) -> Json:
    """Return the answer; what goes wrong is one line and exit status 1, or 2 for bad settings."""
    settings = settings_or_exit()
    address = (url or address_of(settings)).rstrip("/")
    try:
        return over_http(call, address, settings.api_key or development_key())
    except NobodyListens:
        file = sqlite_file(settings.database_url)
        if url is not None or file is None:
            fail(f"no API answers at {address}")
        if not file.exists():
            fail(f"no API answers at {address}, and there is no database {file}")
    try:
        return asyncio.run(on_file(call, settings))
    except ApiError as refused:
        fail(refused.message)
    except REFUSALS as problem:
        fail(f"no API answers at {address}, and the database cannot be used: {problem}")


def address_of(settings: Settings) -> str:
    """Return where the API of these settings listens."""
    host = EVERYWHERE.get(settings.api_host, settings.api_host)
    return f"http://{host}:{settings.api_port}"


def development_key() -> str | None:
    """Return the key that `ops dev` made here, if it did."""
    return KEY_FILE.read_text(encoding="utf-8").strip() if KEY_FILE.is_file() else None


def over_http(call: Call, address: str, key: str | None) -> Json:
    """Ask a running API. Raises NobodyListens."""
    query = f"?{urlencode(call.query)}" if call.query else ""
    body = None if call.body is None else msgspec.json.encode(call.body)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        request = urllib.request.Request(  # noqa: S310 - the operator's own address
            f"{address}{call.path}{query}", data=body, headers=headers, method=call.method
        )
        # No proxy: the administrator's key is for the API alone.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT_S) as answer:
            found: Json = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as refused:
        fail(reason_of(refused, address, has_key=key is not None))
    except ValueError:
        fail(f"what answers at {address} is not this API")
    except OSError as failure:
        if isinstance(getattr(failure, "reason", failure), ConnectionRefusedError):
            raise NobodyListens from None
        fail(f"the API at {address} does not answer: {getattr(failure, 'reason', failure)}")


def reason_of(refused: urllib.error.HTTPError, address: str, *, has_key: bool) -> str:
    """Return why the API refused, in its own words where it has some."""
    if refused.code == 401 and not has_key:
        return "API_KEY is not set: the API wants a key with the scope admin"
    try:
        return str(json.loads(refused.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{address} answered with status {refused.code}"


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
