"""The client of the model server: chat completions as a stream of chunks, and the list of what it serves."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from app.inference.chunks import Chunk, PromptTokens, ServedModels, decode_chunk, decode_models, decode_tokens
from app.inference.exchange import CUT_OFF, Exchange
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
from app.inference.wire import NOTHING, Wire
from app.telemetry import genai, tracing

DONE = b"[DONE]"
ERROR_BODY_LIMIT = 65_536
LISTING_TIMEOUT_S = 5.0
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
        self._path = urlsplit(self.url).path
        self._first_token_timeout_s = first_token_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._wire = Wire(self.url, api_key=api_key, connect_timeout_s=connect_timeout_s)
        self._no_tokenizer_until = 0.0

    async def close(self) -> None:
        """Close every connection."""
        self._wire.close()

    @asynccontextmanager
    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChunkBatches, None]:
        """Open a streamed chat completion (see ChatModel)."""
        async with self._asked("/chat/completions", _streaming_body(request)) as answer:
            if answer.status != 200:
                raise failure_of_answer(answer.status, await self._error_body(answer))
            chunks = self._chunks(answer)
            try:
                yield chunks
            finally:
                await chunks.aclose()

    @asynccontextmanager
    async def forward(
        self, path: str, body: bytes, completion_id: str | None = None
    ) -> AsyncGenerator["Forwarded", None]:
        """Send a body as it is, to a path under /v1; yield the answer, whatever its status. Left early, it is closed.

        `completion_id` is the id that a chat completion is to have: vLLM makes it of X-Request-Id. Raises ModelFailure.
        """
        named = {"X-Request-Id": completion_id.removeprefix("chatcmpl-")} if completion_id else {}
        async with self._asked(path, body, named) as answer:
            yield Forwarded(answer, self._first_token_timeout_s, self._idle_timeout_s)

    @asynccontextmanager
    async def _asked(
        self, path: str, body: bytes, named: Mapping[str, str] = NOTHING
    ) -> AsyncGenerator[Exchange, None]:
        """Send a body and yield the answer once its head is there. Left early, it is closed: that frees the engine."""
        with tracing.span("upstream", kind="CLIENT", attributes=genai.asked(path, self.url)):
            with _in_time():
                async with asyncio.timeout(self._first_token_timeout_s):
                    headers = {**named, **tracing.headers()}
                    answer = await self._wire.ask("POST", self._path + path, body, headers)
            try:
                yield answer
            finally:
                self._wire.release(answer)

    async def _error_body(self, answer: Exchange) -> bytes:
        """Read a refusal, most of it: it may come in several pieces."""
        body = b""
        with _in_time():
            async with asyncio.timeout(self._first_token_timeout_s):
                while len(body) < ERROR_BODY_LIMIT and (data := await answer.read_some()):
                    body += data
        return body

    async def _chunks(self, answer: Exchange) -> AsyncGenerator[Sequence[Chunk], None]:
        lines = DataLines()
        with Silence(answer, self._first_token_timeout_s) as silence:
            while True:
                try:
                    data = await answer.read_some()
                    payloads = lines.feed(data)
                except (ModelBroke, LineTooLong) as failure:
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
                    await _read_to_end(answer)
                    return

    async def tokenize(
        self, model: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> PromptTokens | None:
        """Count what a chat takes of the window (see ChatModel). vLLM serves this beside /v1, not under it."""
        if asyncio.get_running_loop().time() < self._no_tokenizer_until:
            return None
        asked = {"model": model, "messages": messages, "return_token_strs": True} | ({"tools": tools} if tools else {})
        try:
            path = self._path.removesuffix("/v1") + "/tokenize"
            status, text = await self._whole("POST", path, msgspec.json.encode(asked), TOKENIZE_TIMEOUT_S)
        except ModelUnreachable:
            raise
        except ModelFailure:
            return None
        counted = _tokens(text) if status == 200 else None
        absent = status in NO_TOKENIZER and not names_a_model(text)
        if absent or (status == 200 and counted is None):
            self._no_tokenizer_until = asyncio.get_running_loop().time() + NO_TOKENIZER_KEPT_S
        return counted

    async def models(self) -> ServedModels:
        """Ask what the server serves. Raises ModelFailure."""
        status, text = await self._whole("GET", self._path + "/models", b"", LISTING_TIMEOUT_S)
        if status != 200:
            raise failure_of_answer(status, text)
        try:
            return decode_models(text)
        except UNREADABLE:
            raise ModelBroke("The model server's /v1/models is not what OpenAI's is.") from None

    async def _whole(self, method: str, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        with _in_time():
            async with asyncio.timeout(timeout_s):
                answer = await self._wire.ask(method, path, body, tracing.headers())
                try:
                    return answer.status, await answer.read()
                finally:
                    self._wire.release(answer)


class Forwarded:
    """A server's answer to a body that was sent as it is."""

    def __init__(self, answer: Exchange, first_timeout_s: float, idle_timeout_s: float) -> None:
        self._answer = answer
        self._first_timeout_s = first_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self.status = answer.status
        self.content_type = answer.content_type

    async def read(self) -> bytes:
        """Read it whole. Raises ModelFailure."""
        with _in_time():
            async with asyncio.timeout(self._first_timeout_s):
                return await self._answer.read()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes, as it comes, until the end. Raises ModelFailure."""
        with Silence(self._answer, self._first_timeout_s) as silence:
            while True:
                try:
                    data = await self._answer.read_some()
                except ModelBroke as failure:
                    raise silence.failure() or failure from None
                if not data:
                    return
                silence.broken(self._idle_timeout_s)
                yield data


class Silence:
    """Closes an answer that has been silent for too long. One timer for a stream, none for each chunk of it."""

    def __init__(self, answer: Exchange, limit_s: float) -> None:
        self._answer = answer
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
            self._answer.close()

    def failure(self) -> ModelFailure | None:
        """Return the failure to raise if it was this that ended the stream."""
        return ModelTimedOut("The model server fell silent.") if self._passed else None


async def _read_to_end(answer: Exchange) -> None:
    """Read what follows [DONE], normally nothing, so that the connection can be kept."""
    with suppress(TimeoutError, ModelFailure):
        async with asyncio.timeout(END_TIMEOUT_S):
            await answer.read()


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
def _in_time() -> Iterator[None]:
    """Turn asyncio's timeout into a failure of ours."""
    try:
        yield
    except TimeoutError:
        raise ModelTimedOut("The model server did not answer in time.") from None
