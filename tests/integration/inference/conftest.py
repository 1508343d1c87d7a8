"""A model server that a script leads, and the client that talks to it, over real sockets."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from app.inference.client import ModelClient
from tests.fakes.model_server import ModelServer, model_server

TIMEOUTS = {"connect_timeout_s": 5.0, "first_token_timeout_s": 5.0, "idle_timeout_s": 5.0}


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[ModelServer]:
    """Give a scripted model server."""
    async with model_server() as running:
        yield running


@pytest.fixture
async def open_client(anyio_backend: str) -> AsyncIterator[Callable[..., ModelClient]]:
    """Give `open_client(url, idle_timeout_s=0.1)`: a client that is closed at the end."""
    async with AsyncExitStack() as stack:

        def open_one(url: str, **options: Any) -> ModelClient:
            client = ModelClient(url, **(TIMEOUTS | options))
            stack.push_async_callback(client.close)
            return client

        yield open_one


@pytest.fixture
def client(server: ModelServer, open_client: Callable[..., ModelClient]) -> ModelClient:
    """Give a client of the scripted server, with timeouts that no test reaches."""
    return open_client(server.url)
