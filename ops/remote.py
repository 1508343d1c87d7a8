"""Asks the API that runs on this machine, or at an address that the operator names, with an administrator's key."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import urlencode

from app.settings import Settings
from ops.commands.dev import KEY_FILE

TIMEOUT_S = 60.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to listen on, and where to ask then


class NobodyListens(Exception):
    """No server is there to be asked."""


class Refused(Exception):
    """There is one, and it did not do what it was asked. The message is one line; `status` is that of its answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Remote:
    """An API and the key to ask it with."""

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        self.address = (url or address_of(settings)).rstrip("/")
        self._key = settings.api_key or development_key()

    def ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        """Send one request; return the body of its answer. Raises NobodyListens and Refused."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self.address}{path}{f'?{urlencode(query)}' if query else ''}"
        try:
            request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310 - operator's
            # No proxy: the administrator's key is for the API alone.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=TIMEOUT_S
            ) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as refused:
            with refused:  # it holds the connection
                raise Refused(self._reason_of(refused), refused.code) from None
        except (ValueError, HTTPException):
            raise self.stranger() from None
        except OSError as failure:
            if isinstance(getattr(failure, "reason", failure), ConnectionRefusedError):
                raise NobodyListens from None
            reason = getattr(failure, "reason", failure)
            raise Refused(f"the API at {self.address} does not answer: {reason}") from None

    def stranger(self) -> Refused:
        """Return what to raise for an answer that is not one of this API's."""
        return Refused(f"what answers at {self.address} is not this API")

    def _reason_of(self, refused: urllib.error.HTTPError) -> str:
        """Return why the API refused, in its own words where it has some."""
        if refused.code == 401 and self._key is None:
            return "API_KEY is not set: the API wants a key with the scope admin"
        try:
            return str(json.loads(refused.read())["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return f"{self.address} answered with status {refused.code}"


def address_of(settings: Settings) -> str:
    """Return where the API of these settings listens, as seen from this machine."""
    host = EVERYWHERE.get(settings.api_host, settings.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def development_key() -> str | None:
    """Return the key that `ops dev` made here, if it did."""
    return KEY_FILE.read_text(encoding="utf-8").strip() if KEY_FILE.is_file() else None
