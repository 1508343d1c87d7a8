"""A real stand-in on a free loopback port for each test, and small ways to talk to it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from ops.standin.config import StandinConfig
from ops.standin.server import start_standin

CHAT = "/v1/chat/completions"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Standin:
    """A served stand-in and a session that talks to it."""

    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body) as response:
            return response.status, await response.json()

    async def chat(self, message: str, **more: Any) -> Any:
        status, body = await self.post(CHAT, messages=[{"role": "user", "content": message}], **more)
        assert status == 200, body
        return body

    async def stream(self, path: str, **body: Any) -> list[dict[str, Any]]:
        """Read a stream to its end; every event must be a data line, the last one [DONE]."""
        async with self.session.post(self.url + path, json={**body, "stream": True}) as response:
            assert response.status == 200, await response.text()
            text = await response.text()
        *events, done, rest = text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    async def stream_chat(self, message: str, **more: Any) -> list[dict[str, Any]]:
        return await self.stream(CHAT, messages=[{"role": "user", "content": message}], **more)

    async def metric(self, name: str) -> float:
        """Read the value of the first series whose name and labels begin with `name`."""
        _, text = await self.get("/metrics")
        return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"vllm:{name}"))


Serve = Callable[..., Awaitable[Standin]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start stand-ins with the settings given; instant ones unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Standin:
            config = StandinConfig(**{"token_ms": 0, **settings})
            runner, url = await start_standin(config, "127.0.0.1", 0)
            stack.push_async_callback(runner.cleanup)
            return Standin(url, await stack.enter_async_context(aiohttp.ClientSession()))

        yield start


@pytest.fixture
async def standin(serve: Serve) -> Standin:
    """An instant stand-in with default settings."""
    return await serve()
