"""The connections to one model server, kept between requests: as much of an HTTP client as OpenAI's wire needs.

A general client does so much for each request, and for each piece of an answer, that it was the dearest part of a relay
(decision 0013).
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from app.inference.exchange import Exchange
from app.inference.failures import ModelUnreachable

KEEPALIVE_S = 4.0  # vLLM closes an idle connection after 5 s; give ours up before it does
NOTHING: Mapping[str, str] = {}


class Wire:
    """The connections to one server. One that is kept goes to the next request, the youngest first."""

    def __init__(
        self, url: str, *, api_key: str | None, connect_timeout_s: float, keepalive_s: float = KEEPALIVE_S
    ) -> None:
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if is_secure else 80)
        self._tls = ssl.create_default_context() if is_secure else None
        self._connect_timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        headers = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        elif parts.username:
            userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {b64encode(userinfo.encode()).decode()}"
        self._headers = _lines(headers)
        self._idle: list[tuple[Exchange, float]] = []
        self._used: set[Exchange] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", named: Mapping[str, str] = NOTHING) -> Exchange:
        """Send a request, with headers that are `named`; return its answer once the head is there.

        To be given back with `release`. Raises ModelUnreachable, ModelBroke. A kept connection that breaks before
        it answers had just been closed by the server, which never saw the request: it is sent once more, on a new one.
        """
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}{length}{_lines(named)}\r\n".encode()
        kept = self._kept()
        if kept is not None:
            try:
                return await self._asked(kept, head, body)
            except ModelUnreachable:
                pass
        return await self._asked(await self._connected(), head, body)

    def release(self, exchange: Exchange) -> None:
        """Keep the connection of an answer that was whole; close any other."""
        self._used.discard(exchange)
        if not exchange.is_reusable:
            exchange.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((exchange, loop.time()))
        if self._sweeping is None:
            self._sweeping = loop.call_later(self._keepalive_s, self._sweep)

    def close(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for exchange in [*self._used, *(exchange for exchange, _ in self._idle)]:
            exchange.close()
        self._used.clear()
        self._idle.clear()

    async def _asked(self, exchange: Exchange, head: bytes, body: bytes) -> Exchange:
        self._used.add(exchange)
        try:
            await exchange.ask(head, body)
        except BaseException:
            self._used.discard(exchange)
            exchange.close()
            raise
        return exchange

    async def _connected(self) -> Exchange:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, exchange = await loop.create_connection(Exchange, self._host, self._port, ssl=self._tls)
        except TimeoutError:
            raise ModelUnreachable("The model server could not be reached in time.") from None
        except (OSError, ValueError):  # a name that no host can have is a ValueError
            raise ModelUnreachable("The model server cannot be reached.") from None
        return exchange

    def _kept(self) -> Exchange | None:
        too_old = asyncio.get_running_loop().time() - self._keepalive_s
        while self._idle:
            exchange, since = self._idle.pop()
            if exchange.is_reusable and since > too_old:
                return exchange
            exchange.close()
        return None

    def _sweep(self) -> None:
        """Close what was not used for too long; come back as long as anything is kept."""
        loop = asyncio.get_running_loop()
        too_old = loop.time() - self._keepalive_s
        while self._idle and self._idle[0][1] <= too_old:
            self._idle.pop(0)[0].close()
        self._sweeping = loop.call_later(self._keepalive_s, self._sweep) if self._idle else None


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
