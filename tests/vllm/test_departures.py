"""Somebody goes away while words are coming: a client, a run that is cancelled, the API itself."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
from openai.types.beta import Assistant

from tests.vllm.api import STOP_WITHIN_S, Api, running_api
from tests.vllm.engine import MODEL, Engine
from tests.vllm.lines import ENDLESS, INSTRUCTIONS, STORY, TELL_A_STORY
from tests.vllm.talk import POLL_MS, answer_of, new_thread

DELTA = "thread.message.delta"
FREED_WITHIN_S = 2.0
IDLE_WITHIN_S = 15.0  # before a test: what a failed one left in the engine may last 6 s
# Together they take vLLM 26 s: they do not end by themselves within the API's grace.
STREAMS = 8


def test_a_run_whose_reader_left_is_finished_all_the_same(client: openai.OpenAI, assistant: Assistant) -> None:
    thread_id = new_thread(client, TELL_A_STORY)
    run_id = ""
    with client.beta.threads.runs.create(thread_id, assistant_id=assistant.id, stream=True) as stream:
        for event in stream:
            if event.event == "thread.run.created":
                run_id = event.data.id
            if event.event == DELTA:
                break
    run = client.beta.threads.runs.poll(run_id, thread_id=thread_id, poll_interval_ms=POLL_MS)
    assert answer_of(client, run) == STORY


def test_a_cancelled_run_frees_the_engine(client: openai.OpenAI, assistant: Assistant, engine: Engine) -> None:
    engine.wait_until_idle(IDLE_WITHIN_S)
    thread_id = new_thread(client, TELL_A_STORY)
    with client.beta.threads.runs.create(
        thread_id, assistant_id=assistant.id, response_format=ENDLESS, stream=True
    ) as stream:
        names: list[str] = []
        run_id = ""
        for event in stream:
            if event.event == "thread.run.created":
                run_id = event.data.id
            if event.event == DELTA and DELTA not in names:
                assert engine.running() == 1
                client.beta.threads.runs.cancel(run_id, thread_id=thread_id)
            names.append(event.event)
    assert names[-1] == "thread.run.cancelled"
    engine.wait_until_idle(FREED_WITHIN_S)


async def read_until_it_ends(client: openai.AsyncOpenAI, assistant_id: str, begun: asyncio.Event) -> None:
    """Stream an answer without end; a stream cut by the server's death is an end too."""
    stream = await client.beta.threads.create_and_run(
        assistant_id=assistant_id,
        thread={"messages": [{"role": "user", "content": TELL_A_STORY}]},
        response_format=ENDLESS,
        stream=True,
    )
    try:
        async for event in stream:
            if event.event == DELTA:
                begun.set()
    except openai.APIError:
        assert begun.is_set(), "the stream ended before its first word"
    finally:
        await stream.close()


async def stop_while_streaming(api: Api, engine: Engine, stop: Callable[[], None]) -> None:
    async with openai.AsyncOpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60) as client:
        assistant = await client.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0)
        begun = [asyncio.Event() for _ in range(STREAMS)]
        readers = [asyncio.create_task(read_until_it_ends(client, assistant.id, event)) for event in begun]
        async with asyncio.timeout(15):
            await asyncio.gather(*(event.wait() for event in begun))
        assert engine.running() == STREAMS
        stop()
        await asyncio.to_thread(api.wait, STOP_WITHIN_S)
        freed_after_s = await asyncio.to_thread(engine.wait_until_idle, FREED_WITHIN_S)
        print(f"the engine was idle {freed_after_s:.2f} s after the API's end")
        async with asyncio.timeout(5):
            await asyncio.gather(*readers)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["asked to stop", "killed outright"])
def test_an_api_that_ends_frees_the_engine_of_its_answers(engine: Engine, tmp_path: Path, how: signal.Signals) -> None:
    engine.wait_until_idle(IDLE_WITHIN_S)
    with running_api(tmp_path, engine) as api:
        asyncio.run(stop_while_streaming(api, engine, stop=lambda: api.send(how)))
