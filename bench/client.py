"""The calls that scenarios make: straight to the model server, and through the API. Each returns its times."""

import time
from typing import Any

import aiohttp
from msgspec import Struct

from bench.rig import API_KEY, MODEL, Rig


class Times(Struct, frozen=True):
    """Seconds from sending a request: to its first token, and to its end. `chunks` counts pieces of text."""

    first_s: float
    whole_s: float
    chunks: int


class Client:
    """One pool of connections to both servers."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {API_KEY}"}, connector=aiohttp.TCPConnector(limit=0)
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str) -> Any:
        """GET from the API."""
        async with self._session.get(self._rig.api + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST to the API."""
        async with self._session.post(self._rig.api + path, json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def assistant(self) -> str:
        """Make an assistant; return its id."""
        made = await self.post("/assistants", {"model": MODEL, "instructions": "You are a trading assistant."})
        return str(made["id"])

    async def direct(self, text: str) -> Times:
        """Stream a chat completion from the model server."""
        messages = [{"role": "system", "content": "You are a trading assistant."}, {"role": "user", "content": text}]
        body = {"model": MODEL, "stream": True, "messages": messages}
        return await self._stream(self._rig.model + "/chat/completions", body, b'"delta":{"content":"', b"[DONE]")

    async def run(self, assistant: str, text: str) -> Times:
        """Create a thread with a message and stream a run over it, in one call."""
        thread = {"messages": [{"role": "user", "content": text}]}
        body = {"assistant_id": assistant, "stream": True, "thread": thread}
        url = self._rig.api + "/threads/runs"
        return await self._stream(url, body, b"event: thread.message.delta", b"event: thread.run.completed")

    async def run_on(self, thread: str, assistant: str) -> Times:
        """Stream a run over a thread."""
        url = f"{self._rig.api}/threads/{thread}/runs"
        body = {"assistant_id": assistant, "stream": True}
        return await self._stream(url, body, b"event: thread.message.delta", b"event: thread.run.completed")

    async def _stream(self, url: str, body: dict[str, Any], piece: bytes, end: bytes) -> Times:
        started = time.perf_counter()
        first, received = 0.0, []
        async with self._session.post(url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            async for data in answer.content.iter_any():
                received.append(data)
                if not first and piece in b"".join(received[-2:]):
                    first = time.perf_counter()
        whole = b"".join(received)
        assert end in whole, whole[-500:]
        return Times(first - started, time.perf_counter() - started, whole.count(piece))
