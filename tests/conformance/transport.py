"""How the checker sees what the OpenAI SDK receives: transports for its httpx2 clients (else: raw.py).

A transport never raises what it finds: the SDK would retry. It records it, and plugin.py fails the test.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import httpx2
from openai import DEFAULT_CONNECTION_LIMITS, DefaultAsyncHttpxClient, DefaultHttpxClient

from .checker import EVENT_STREAM, Checker


class _Received:
    """One answer as its body arrives, for a transport of either kind."""

    def __init__(self, checker: Checker, request: httpx2.Request, response: httpx2.Response) -> None:
        self._checker = checker
        self._head = (request.method, str(request.url), response.status_code, response.headers)
        self._streamed = response.headers.get("content-type", "").startswith(EVENT_STREAM)
        self._following = None
        self._chunks: list[bytes] = []
        self._ended = False
        if self._streamed:
            with _Recording(checker):
                self._following = checker.follow(*self._head)

    def take(self, chunk: bytes) -> None:
        if not self._streamed:
            self._chunks.append(chunk)
        elif self._following:
            recording = _Recording(self._checker)
            with recording:
                self._following.feed(chunk)
            if recording.failed:
                self._following = None  # what follows a fault would only repeat it

    def end(self, *, complete: bool) -> None:
        """Judge the whole; a body that its reader left half-read is judged only as far as it was read."""
        if self._ended:
            return
        self._ended = True
        with _Recording(self._checker):
            if self._following and (complete or self._following.done):
                self._following.finish()
            elif not self._streamed and complete:
                self._checker.check_response(*self._head, self._decoded())

    def whole(self, content: bytes) -> None:
        """Take a body that a stand-in transport gave at once, decoded: nobody will iterate over it."""
        self._ended = True
        with _Recording(self._checker):
            if self._following:
                self._following.feed(content)
                self._following.finish()
            elif not self._streamed:
                self._checker.check_response(*self._head, content)

    def _decoded(self) -> bytes:
        _, _, status, headers = self._head
        return httpx2.Response(status, headers=headers, content=b"".join(self._chunks)).content


class _Recording:
    """Turns what the checker raises inside into a violation; a body may also be too broken to be checked."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self.failed = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            if not isinstance(error, AssertionError):
                error = AssertionError(f"uncheckable: {error!r}")
            self._checker.violations.append(error)
            self.failed = True
        return self.failed


class _TeeStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, received: _Received) -> None:
        self._stream = stream
        self._received = received

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._received.take(chunk)
            yield chunk
        self._received.end(complete=True)

    def close(self) -> None:
        self._stream.close()
        self._received.end(complete=False)


class _AsyncTeeStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, received: _Received) -> None:
        self._stream = stream
        self._received = received

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = aiter(self._stream)
        try:
            async for chunk in stream:
                self._received.take(chunk)
                yield chunk
        finally:
            # As httpx2 does itself: a generator left to the collector is closed too late.
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        self._received.end(complete=True)

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._received.end(complete=False)


class CheckedTransport(httpx2.BaseTransport):
    """Hands on every answer as it comes and shows it to the checker."""

    def __init__(self, checker: Checker, inner: httpx2.BaseTransport | None = None) -> None:
        self._checker = checker
        self._inner = inner or httpx2.HTTPTransport(limits=DEFAULT_CONNECTION_LIMITS)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request and tee the body of the answer."""
        response = self._inner.handle_request(request)
        received = _Received(self._checker, request, response)
        if response.is_stream_consumed:
            received.whole(response.content)
        else:
            assert isinstance(response.stream, httpx2.SyncByteStream)
            response.stream = _TeeStream(response.stream, received)
        return response

    def close(self) -> None:
        """Close the transport inside."""
        self._inner.close()


class AsyncCheckedTransport(httpx2.AsyncBaseTransport):
    """The same for an asynchronous client."""

    def __init__(self, checker: Checker, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._checker = checker
        self._inner = inner or httpx2.AsyncHTTPTransport(limits=DEFAULT_CONNECTION_LIMITS)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request and tee the body of the answer."""
        response = await self._inner.handle_async_request(request)
        received = _Received(self._checker, request, response)
        if response.is_stream_consumed:
            received.whole(response.content)
        else:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _AsyncTeeStream(response.stream, received)
        return response

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()


def checked_http_client(checker: Checker, inner: httpx2.BaseTransport | None = None) -> httpx2.Client:
    """Make the `http_client` of an `OpenAI`, with the SDK's own defaults."""
    return DefaultHttpxClient(transport=CheckedTransport(checker, inner))


def checked_async_http_client(checker: Checker, inner: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """Make the `http_client` of an `AsyncOpenAI`, with the SDK's own defaults."""
    return DefaultAsyncHttpxClient(transport=AsyncCheckedTransport(checker, inner))
