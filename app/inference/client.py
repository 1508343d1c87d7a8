"""The client of the model server: chat completions as a stream of chunks, and the list of what it serves."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol

import aiohttp
import msgspec
from aiohttp import ClientResponse, ClientTimeout

from app.inference.chunks import Chunk, PromptTokens, ServedModels, decode_chunk, decode_models, decode_tokens
from app.inference.failures import (
    UNREADABLE,
    ModelBroke,
    ModelFailure,
    ModelTimedOut,
    ModelUnreachable,
    failure_of_answer,
    failure_of_event,
    names_a_model,
)
from app.inference.sse import DataLines, LineTooLong
from app.telemetry import genai, tracing

DONE = b"[DONE]"
NOTHING: Mapping[str, str] = {}
KEEPALIVE_S = 4.0  # vLLM closes an idle connection after 5 s; give ours up before it does
ERROR_BODY_LIMIT = 65_536
LISTING_TIMEOUT_S = 5.0
CUT_OFF = "The model server's answer was cut off."
END_TIMEOUT_S = 0.1
TOKENIZE_TIMEOUT_S = 15.0
NO_TOKENIZER = (404, 405, 501)
NO_TOKENIZER_KEPT_S = 600.0


class ChatRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The body of a streamed chat completion. What is None is not sent: the server's own default holds."""

    model: str
    messages: list[dict[str, Any]]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None


ChunkBatches = AsyncIterator[Sequence[Chunk]]


class ChatModel(Protocol):
    """Something that answers a chat: a model server, or a script in a test."""

    def stream(self, request: ChatRequest) -> AbstractAsyncContextManager[ChunkBatches]:
        """Open a streamed completion: entered once the server has accepted it, left to close it at once.

        Raises ModelFailure when entered and while iterated. Each batch is what one read brought.
        """
        ...

    async def tokenize(
        self, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> PromptTokens | None:
        """Count what a chat takes of the window; None where the server cannot tell. Raises ModelUnreachable."""
        ...


class ModelClient:
    """Speaks to one OpenAI-wire model server over a pool of kept connections."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        connect_timeout_s: float,
        first_token_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        self.url = url.rstrip("/")
        self._first_token_timeout_s = first_token_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._no_tokenizer_until = 0.0

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                headers=self._headers,
                timeout=ClientTimeout(total=None, connect=None, sock_connect=self._connect_timeout_s),
                auto_decompress=True,
                trust_env=False,
                read_bufsize=262_144,
            )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChunkBatches, None]:
        """Open a streamed chat completion (see ChatModel)."""
        body = _streaming_body(request)
        with tracing.span("upstream", kind="CLIENT", attributes=genai.asked("/chat/completions", self.url)):
            response = await self._post(self.url + "/chat/completions", body)
            chunks = self._chunks(response)
            try:
                yield chunks
            finally:
                await chunks.aclose()
                response.close()  # unless it was read to its end: closing the socket is what frees the engine

    @asynccontextmanager
    async def forward(
        self, path: str, body: bytes, completion_id: str | None = None
    ) -> AsyncGenerator["Forwarded", None]:
        """Send a body as it is, to a path under /v1; yield the answer, whatever its status. Left early, it is closed.

        `completion_id` is the id that a chat completion is to have: vLLM makes it of X-Request-Id. Raises ModelFailure.
        """
        named = {"X-Request-Id": completion_id.removeprefix("chatcmpl-")} if completion_id else {}
        with tracing.span("upstream", kind="CLIENT", attributes=genai.asked(path, self.url)):
            with _translated():
                async with asyncio.timeout(self._first_token_timeout_s):
                    response = await self._send(self.url + path, body, named)
            try:
                yield Forwarded(response, self._first_token_timeout_s, self._idle_timeout_s)
            finally:
                response.close()  # unless it was read to its end

    async def _post(self, url: str, body: bytes) -> ClientResponse:
        with _translated():
            async with asyncio.timeout(self._first_token_timeout_s):
                response = await self._send(url, body)
                if response.status == 200:
                    return response
                try:
                    text = await _error_body(response)
                finally:
                    response.close()
        raise failure_of_answer(response.status, text)

    async def _send(self, url: str, body: bytes, named: Mapping[str, str] = NOTHING) -> ClientResponse:
        headers = {"Content-Type": "application/json", **named, **tracing.headers()}
        session = self._opened()
        try:
            return await session.post(url, data=body, headers=headers)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError):
            # A kept connection that the server had just closed: it never saw the request, so ask once more.
            return await session.post(url, data=body, headers=headers)

    async def _chunks(self, response: ClientResponse) -> AsyncGenerator[Sequence[Chunk], None]:
        lines = DataLines()
        with Silence(response, self._first_token_timeout_s) as silence:
            while True:
                try:
                    data = await response.content.readany()
                    payloads = lines.feed(data)
                except (aiohttp.ClientError, OSError, LineTooLong) as failure:
                    raise silence.failure() or ModelBroke(CUT_OFF) from failure
                if not data:
                    raise ModelBroke(CUT_OFF)
                done = DONE in payloads
                batch, broke = _chunks_of(payloads)
                if batch:
                    silence.broken(self._idle_timeout_s)
                    yield batch
                if broke is not None:
                    raise broke
                if done:
                    await _read_to_end(response)
                    return

    async def tokenize(
        self, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> PromptTokens | None:
        """Count what a chat takes of the window (see ChatModel). vLLM serves this beside /v1, not under it."""
        if asyncio.get_running_loop().time() < self._no_tokenizer_until:
            return None
        asked = {"model": model, "messages": messages, "return_token_strs": True} | ({"tools": tools} if tools else {})
        try:
            with _translated():
                async with asyncio.timeout(TOKENIZE_TIMEOUT_S):
                    response = await self._send(self.url.removesuffix("/v1") + "/tokenize", msgspec.json.encode(asked))
                    async with response:
                        text = await response.read()
        except ModelUnreachable:
            raise
        except ModelFailure:
            return None
        counted = _tokens(text) if response.status == 200 else None
        absent = response.status in NO_TOKENIZER and not names_a_model(text)
        if absent or (response.status == 200 and counted is None):
            self._no_tokenizer_until = asyncio.get_running_loop().time() + NO_TOKENIZER_KEPT_S
        return counted

    async def models(self) -> ServedModels:
        """Ask what the server serves. Raises ModelFailure."""
        with _translated():
            async with asyncio.timeout(LISTING_TIMEOUT_S):
                async with self._opened().get(self.url + "/models") as response:
                    text = await response.read()
        if response.status != 200:
            raise failure_of_answer(response.status, text)
        try:
            return decode_models(text)
        except UNREADABLE:
            raise ModelBroke("The model server's /v1/models is not what OpenAI's is.") from None


class Forwarded:
    """A server's answer to a body that was sent as it is."""

    def __init__(self, response: ClientResponse, first_timeout_s: float, idle_timeout_s: float) -> None:
        self._response = response
        self._first_timeout_s = first_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self.status = response.status
        self.content_type = response.headers.get("content-type", "application/json")

    async def read(self) -> bytes:
        """Read it whole. Raises ModelFailure."""
        with _translated():
            async with asyncio.timeout(self._first_timeout_s):
                return await self._response.read()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes, as it comes, until the end. Raises ModelFailure."""
        content = self._response.content
        with Silence(self._response, self._first_timeout_s) as silence:
            while True:
                try:
                    data = await content.readany()
                except (aiohttp.ClientError, OSError) as failure:
                    raise silence.failure() or ModelBroke(CUT_OFF) from failure
                if not data:
                    return
                silence.broken(self._idle_timeout_s)
                yield data


class Silence:
    """Closes a response that has been silent for too long. One timer for a stream, none for each chunk of it."""

    def __init__(self, response: ClientResponse, limit_s: float) -> None:
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._heard_at = self._loop.time()
        self._passed = False
        self._timer = self._loop.call_later(limit_s, self._check)

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def broken(self, limit_s: float) -> None:
        """Note that something was heard; from now on this is the limit."""
        self._heard_at = self._loop.time()
        if limit_s != self._limit_s:
            self._limit_s = limit_s
            self._timer.cancel()
            self._timer = self._loop.call_later(limit_s, self._check)

    def _check(self) -> None:
        left_s = self._heard_at + self._limit_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._check)
        else:
            self._passed = True
            self._response.close()

    def failure(self) -> ModelFailure | None:
        """Return the failure to raise if it was this that ended the stream."""
        return ModelTimedOut("The model server fell silent.") if self._passed else None


async def _error_body(response: ClientResponse) -> bytes:
    """Read a refusal whole: it may come in several pieces."""
    body = b""
    while len(body) < ERROR_BODY_LIMIT and not response.content.at_eof():
        body += await response.content.readany()
    return body


async def _read_to_end(response: ClientResponse) -> None:
    """Read what follows [DONE], normally nothing, so that the connection can be kept."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(END_TIMEOUT_S):
            while not response.content.at_eof():
                await response.content.readany()


def _tokens(text: bytes) -> PromptTokens | None:
    """Read a count; other servers' /tokenize answer something else."""
    try:
        return decode_tokens(text)
    except UNREADABLE:
        return None


def _streaming_body(request: ChatRequest) -> bytes:
    fields = msgspec.structs.asdict(request)
    kept = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode(kept | {"stream": True, "stream_options": {"include_usage": True}})


def _chunks_of(payloads: Sequence[bytes]) -> tuple[list[Chunk], ModelFailure | None]:
    """Decode what one read brought, up to the first failure: what came before it was said."""
    chunks = []
    try:
        for payload in payloads:
            if payload != DONE:
                chunks.append(_chunk(payload))
    except ModelFailure as failure:
        return chunks, failure
    return chunks, None


def _chunk(payload: bytes) -> Chunk:
    try:
        chunk = decode_chunk(payload)
    except UNREADABLE:
        raise ModelBroke("The model server sent something that is not a chat completion chunk.") from None
    if chunk.error is not None:
        raise failure_of_event(chunk.error)
    return chunk


@contextmanager
def _translated() -> Iterator[None]:
    """Turn aiohttp's and asyncio's failures into ours; the most specific class wins."""
    try:
        yield
    except ModelFailure:
        raise
    except aiohttp.ConnectionTimeoutError:
        raise ModelUnreachable("The model server could not be reached in time.") from None
    except TimeoutError:
        raise ModelTimedOut("The model server did not answer in time.") from None
    except aiohttp.ClientConnectorError:
        raise ModelUnreachable("The model server cannot be reached.") from None
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, LineTooLong, ValueError):
        raise ModelBroke("The model server's answer was cut off or unreadable.") from None
    except (aiohttp.ClientError, OSError):
        raise ModelUnreachable("The connection to the model server broke.") from None
