"""Load: clients that leave, slots, the queue, and the metrics that tell of them."""

import asyncio
import re

import pytest

from .conftest import CHAT

pytestmark = pytest.mark.anyio

LONG = {"messages": [{"role": "user", "content": "repeat 2000 words"}]}
REACHED_WITHIN_S = 10
"""Much, on a busy machine; little, next to the 40 s that the words take."""


async def reach(standin, name, value):
    """Wait until a metric has a value."""
    async with asyncio.timeout(REACHED_WITHIN_S):
        while await standin.metric(name) != value:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_client_that_leaves_frees_its_slot_at_once(serve, caplog, is_streamed):
    standin = await serve(token_ms=20)
    request = asyncio.create_task(standin.post(CHAT, **LONG, stream=is_streamed))
    await reach(standin, "num_requests_running", 1)
    assert await standin.metric("kv_cache_usage_perc") > 0
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await reach(standin, "num_requests_running", 0)
    generated = await standin.metric("generation_tokens_total")
    await asyncio.sleep(0.1)
    assert await standin.metric("generation_tokens_total") == generated < 100
    assert await standin.metric("kv_cache_usage_perc") == 0
    assert await standin.metric('request_success_total{engine="0",finished_reason="abort"') == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_client_that_leaves_while_waiting_leaves_the_queue(serve):
    standin = await serve(token_ms=20, max_num_seqs=1)
    requests = [asyncio.create_task(standin.post(CHAT, **LONG)) for _ in range(2)]
    await reach(standin, "num_requests_waiting", 1)
    requests[1].cancel()
    await reach(standin, "num_requests_waiting", 0)
    assert await standin.metric("num_requests_running") == 1
    requests[0].cancel()
    await reach(standin, "num_requests_running", 0)
    await asyncio.gather(*requests, return_exceptions=True)


async def test_requests_over_the_slots_wait_and_are_all_answered(serve):
    standin = await serve(token_ms=2, max_num_seqs=2)
    requests = [asyncio.create_task(standin.chat("repeat 10 words")) for _ in range(5)]
    await reach(standin, "num_requests_waiting", 3)
    assert await standin.metric("num_requests_running") == 2
    bodies = await asyncio.gather(*requests)
    assert [body["usage"]["completion_tokens"] for body in bodies] == [10] * 5
    assert await standin.metric("num_requests_running") == 0


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_full_queue_is_a_503_without_retry_after(serve, is_streamed):
    standin = await serve(token_ms=20, max_num_seqs=1, max_queued=1)
    requests = [asyncio.create_task(standin.post(CHAT, **LONG)) for _ in range(2)]
    await reach(standin, "num_requests_waiting", 1)
    async with standin.session.post(standin.url + CHAT, json=LONG | {"stream": is_streamed}) as response:
        body = await response.json()
        assert "Retry-After" not in response.headers
    assert body["error"] == {
        "message": "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance.",
        "type": "Service Unavailable",
        "param": None,
        "code": 503,
    }
    assert await standin.metric("admission_rejections_total") == 1
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)


async def test_metrics_count_what_was_answered(standin):
    await standin.chat("repeat 7 words")
    await standin.stream_chat("repeat 9 words", max_tokens=3)
    assert await standin.metric("prompt_tokens_total") == 18
    assert await standin.metric("generation_tokens_total") == 10
    assert await standin.metric('request_success_total{engine="0",finished_reason="stop"') == 1
    assert await standin.metric('request_success_total{engine="0",finished_reason="length"') == 1
    assert await standin.metric("time_to_first_token_seconds_count") == 2
    assert await standin.metric("e2e_request_latency_seconds_count") == 2
    assert await standin.metric("num_preemptions_total") == 0


async def test_metrics_are_well_formed_and_labelled_as_vllms(serve):
    standin = await serve(model='odd "name"')
    _, text = await standin.get("/metrics")
    line = re.compile(r'vllm:\w+\{(?:\w+="(?:[^"\\]|\\.)*",?)+\} -?[\d.e+-]+')
    samples = [sample for sample in text.splitlines() if not sample.startswith("# ")]
    assert all(line.fullmatch(sample) for sample in samples)
    assert r'vllm:num_requests_running{engine="0",model_name="odd \"name\""} 0.0' in samples
    assert len({sample.rsplit(" ", 1)[0] for sample in samples}) == len(samples)


async def test_histogram_buckets_add_up(standin):
    await standin.chat("hello")
    _, text = await standin.get("/metrics")
    buckets = [
        float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if "e2e_request_latency_seconds_bucket" in line
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == await standin.metric("e2e_request_latency_seconds_count") == 1
