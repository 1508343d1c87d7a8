"""Sixteen conversations at once: more than the run slots, so some wait; each must get its own answer."""

import asyncio

import openai
from openai.types.beta import Assistant

from tests.vllm.api import Api
from tests.vllm.lines import STORY, TAUGHT, TELL_A_STORY
from tests.vllm.talk import POLL_MS

CONVERSATIONS = 16
QUESTIONS = {**TAUGHT, TELL_A_STORY: STORY}


async def polled(client: openai.AsyncOpenAI, assistant_id: str, question: str) -> str:
    thread = await client.beta.threads.create(messages=[{"role": "user", "content": question}])
    run = await client.beta.threads.runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant_id, poll_interval_ms=POLL_MS
    )
    assert run.status == "completed", f"{run.status}: {run.last_error}"
    (message,) = (await client.beta.threads.messages.list(thread.id, run_id=run.id)).data
    part = message.content[0]
    assert part.type == "text"
    return part.text.value


async def streamed(client: openai.AsyncOpenAI, assistant_id: str, question: str) -> str:
    thread = await client.beta.threads.create(messages=[{"role": "user", "content": question}])
    async with client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant_id) as stream:
        words = [words async for words in stream.text_deltas]
    run = stream.current_run
    assert run is not None
    assert run.status == "completed"
    return "".join(words)


async def ask_all(api: Api, assistant_id: str, questions: list[str]) -> list[str]:
    """Every second conversation streams, the others poll."""
    async with openai.AsyncOpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60) as client:
        ways = (polled, streamed)
        asked = [ways[n % 2](client, assistant_id, question) for n, question in enumerate(questions)]
        return await asyncio.gather(*asked)


def test_sixteen_conversations_at_once_each_get_their_own_answer(api: Api, assistant: Assistant) -> None:
    questions = (list(QUESTIONS) * CONVERSATIONS)[:CONVERSATIONS]
    answers = asyncio.run(ask_all(api, assistant.id, questions))
    assert answers == [QUESTIONS[question] for question in questions]
