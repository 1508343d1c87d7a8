"""Asks the API that runs on this machine, with the bootstrap key, for commands that open the store when none runs."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from app.settings import Settings

TIMEOUT_S = 60.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server listens, nobody calls


class NotRunning(Exception):
    """No API answers at API_HOST and API_PORT."""


class Refused(Exception):
    """The API answered with an error; the message is its own."""


def ask(
    settings: Settings, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
) -> bytes:
    """Send one request to the API; return the body of its answer. Raises NotRunning and Refused."""
    url = address(settings) + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
    headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - http, by us
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as answer:
        raise Refused(_message(answer)) from None
    except urllib.error.URLError as failure:
        if isinstance(failure.reason, ConnectionRefusedError):
            raise NotRunning from None
        raise Refused(f"the API at {address(settings)} cannot be asked: {failure.reason}") from None
    except OSError as failure:
        raise Refused(f"the API at {address(settings)} stopped answering: {failure}") from None


def address(settings: Settings) -> str:
    """Return where the API is, as seen from this machine."""
    host = ANY_ADDRESS.get(settings.api_host, settings.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def _message(answer: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(answer.read())["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"the API answered with status {answer.code}"
