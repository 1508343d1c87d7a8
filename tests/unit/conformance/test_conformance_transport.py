"""What clients receive reaches the checker unasked, and streams reach the client as they come."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.conformance import raw, samples
from tests.conformance.checker import Checker
from tests.conformance.samples import ASSISTANT_ID, THREAD_ID
from tests.conformance.sse import ServerEvent
from tests.conformance.transport import checked_async_http_client, checked_http_client
from tests.conformance.unchecked import Unchecked

URL = "http://server.test/v1"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that is read once, as from a network, whose pieces the test can count while they are taken."""

    def __init__(self, events: list[ServerEvent]) -> None:
        self._pieces = iter([samples.body_of([event]) for event in events])
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def answering(value: samples.Object, status: int = 200) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda _: httpx2.Response(status, json=value, headers=samples.HEADERS))


def streaming(chunks: Chunks) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda _: httpx2.Response(200, stream=chunks, headers=samples.STREAM_HEADERS))


def sdk(checker: Checker, server: httpx2.MockTransport) -> OpenAI:
    return OpenAI(api_key="k", base_url=URL, http_client=checked_http_client(checker, server))


def async_sdk(checker: Checker, server: httpx2.MockTransport) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="k", base_url=URL, http_client=checked_async_http_client(checker, server))


def test_the_sdk_receives_its_answer_and_the_checker_sees_it(checker: Checker) -> None:
    with sdk(checker, answering(samples.thread())) as client:
        assert client.beta.threads.retrieve(THREAD_ID).id == THREAD_ID
    assert checker.seen == {"GET /threads/{thread_id}"}
    assert checker.violations == []


def test_a_bad_answer_is_recorded_once_and_not_retried(checker: Checker) -> None:
    with sdk(checker, answering({**samples.thread(), "created_at": "1"})) as client:
        client.beta.threads.retrieve(THREAD_ID)
    assert [str(found) for found in checker.violations] == [
        "GET /threads/{thread_id} 200: $.created_at: '1' is not of type 'integer'"
    ]
    assert checker.answers == 1


def test_a_stream_is_checked_as_it_comes_without_being_held_back(checker: Checker) -> None:
    chunks = Chunks(samples.plain_stream())
    with sdk(checker, streaming(chunks)) as client:
        stream = client.beta.threads.runs.create(THREAD_ID, assistant_id=ASSISTANT_ID, stream=True)
        for number, _ in enumerate(stream, start=1):
            assert (chunks.taken, checker.events) == (number, number)
    assert checker.seen == {"POST /threads/{thread_id}/runs"}
    assert (checker.events, checker.violations) == (13, [])


def test_a_bad_stream_is_recorded_once(checker: Checker) -> None:
    events = samples.plain_stream()
    del events[5]
    with sdk(checker, streaming(Chunks(events))) as client:
        for _ in client.beta.threads.runs.create(THREAD_ID, assistant_id=ASSISTANT_ID, stream=True):
            pass
    assert len(checker.violations) == 1
    assert "in_progress comes before created" in str(checker.violations[0])


def test_a_stream_that_ends_early_is_recorded(checker: Checker) -> None:
    with sdk(checker, streaming(Chunks(samples.plain_stream()[:3]))) as client:
        for _ in client.beta.threads.runs.create(THREAD_ID, assistant_id=ASSISTANT_ID, stream=True):
            pass
    assert "without done" in str(checker.violations[0])


def test_a_stream_that_its_client_leaves_is_checked_as_far_as_it_was_read(checker: Checker) -> None:
    with sdk(checker, streaming(Chunks(samples.plain_stream()))) as client:
        stream = client.beta.threads.runs.create(THREAD_ID, assistant_id=ASSISTANT_ID, stream=True)
        next(stream)
        stream.close()
    assert (checker.events, checker.violations) == (1, [])


def test_the_async_sdk_is_checked_too(checker: Checker) -> None:
    chunks = Chunks(samples.plain_stream())

    async def talk() -> None:
        async with async_sdk(checker, answering(samples.thread())) as client:
            await client.beta.threads.retrieve(THREAD_ID)
        async with async_sdk(checker, streaming(chunks)) as client:
            stream = await client.beta.threads.runs.create(THREAD_ID, assistant_id=ASSISTANT_ID, stream=True)
            number = 0
            async for _ in stream:
                number += 1
                assert (chunks.taken, checker.events) == (number, number)

    asyncio.run(talk())
    assert checker.seen == {"GET /threads/{thread_id}", "POST /threads/{thread_id}/runs"}
    assert checker.violations == []


def test_a_compressed_answer_is_checked_decoded(checker: Checker) -> None:
    import gzip

    body = gzip.compress(samples.encoded(samples.thread()))
    headers = {**samples.HEADERS, "Content-Encoding": "gzip"}
    server = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=httpx2.ByteStream(body), headers=headers))
    with sdk(checker, server) as client:
        assert client.beta.threads.retrieve(THREAD_ID).id == THREAD_ID
    assert (checker.seen, checker.violations) == ({"GET /threads/{thread_id}"}, [])


def test_a_stream_too_broken_to_be_read_is_recorded(checker: Checker) -> None:
    server = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=b"event: \xff\n\n", headers=samples.STREAM_HEADERS)
    )
    with checked_http_client(checker, server) as client:
        client.post(f"{URL}/threads/{THREAD_ID}/runs")
    assert "uncheckable: UnicodeDecodeError" in str(checker.violations[0])


def test_a_raw_response_is_checked_and_given_back(checker: Checker) -> None:
    good = httpx.MockTransport(lambda _: httpx.Response(200, json=samples.thread(), headers=samples.HEADERS))
    with httpx.Client(transport=good) as client:
        response = client.get(f"{URL}/threads/{THREAD_ID}")
        assert raw.checked(checker, response) is response
        with pytest.raises(AssertionError, match="no such operation"):
            raw.checked(checker, client.get(f"{URL}/nothing"))


def test_a_watched_client_needs_no_call_of_the_checker(checker: Checker) -> None:
    server = httpx.MockTransport(lambda _: httpx.Response(200, json=samples.thread(), headers=samples.HEADERS))
    with raw.watched(checker, httpx.Client(transport=server)) as client:
        client.get(f"{URL}/threads/{THREAD_ID}")
        with pytest.raises(AssertionError, match="no such operation"):
            client.get(f"{URL}/nothing")

    async def talk() -> None:
        async with raw.watched(checker, httpx.AsyncClient(transport=server)) as client:
            await client.post(f"{URL}/threads")

    asyncio.run(talk())
    assert checker.seen == {"GET /threads/{thread_id}", "POST /threads"}


def test_without_the_document_everything_is_counted_and_nothing_checked() -> None:
    checker = Unchecked()
    with sdk(checker, answering({"id": "bad"})) as client:
        client.beta.threads.retrieve(THREAD_ID)
    with sdk(checker, streaming(Chunks(samples.plain_stream()))) as client:
        for _ in client.beta.threads.runs.create(THREAD_ID, assistant_id=ASSISTANT_ID, stream=True):
            pass
    assert (checker.answers, checker.violations, checker.seen) == (2, [], set())
