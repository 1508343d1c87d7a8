"""Short ways to say what the tests say often: ask vLLM itself, ask through our API, read an answer."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import openai
from openai.types.beta.threads import Message, Run
from openai.types.beta.threads.runs import RunStep
from openai.types.chat import ChatCompletion

from tests.vllm.engine import MODEL
from tests.vllm.lines import INSTRUCTIONS

POLL_MS = 50  # the SDK's default of 1 s would be most of a test's time


def as_chat(turns: Sequence[str]) -> list[Any]:
    """The chat that user, assistant, user … make under the assistant's instructions."""
    roles = ("user", "assistant")
    spoken = [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
    return [{"role": "system", "content": INSTRUCTIONS}, *spoken]


def ask_directly(direct: openai.OpenAI, turns: Sequence[str]) -> ChatCompletion:
    """What vLLM itself answers, without our API."""
    return direct.chat.completions.create(model=MODEL, messages=as_chat(turns), temperature=0)


def words_of(completion: ChatCompletion) -> str:
    return completion.choices[0].message.content or ""


def usage_of(answer: Run | RunStep | ChatCompletion) -> tuple[int, int, int]:
    assert answer.usage is not None, "no usage"
    return answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens


def say(client: openai.OpenAI, thread_id: str, assistant_id: str, text: str, **options: Any) -> Run:
    """Add a message, run, and wait for the run's end."""
    client.beta.threads.messages.create(thread_id, role="user", content=text)
    return client.beta.threads.runs.create_and_poll(
        thread_id=thread_id, assistant_id=assistant_id, poll_interval_ms=POLL_MS, **options
    )


def new_thread(client: openai.OpenAI, text: str | None = None) -> str:
    """A thread's id; with a user's message in it if there is a text."""
    messages: list[Any] = [] if text is None else [{"role": "user", "content": text}]
    return client.beta.threads.create(messages=messages).id


def text_of(message: Message) -> str:
    assert [part.type for part in message.content] == ["text"]
    part = message.content[0]
    assert part.type == "text"
    return part.text.value


def answer_of(client: openai.OpenAI, run: Run) -> str:
    """The text of the one message that the run left on its thread."""
    assert run.status == "completed", f"{run.status}: {run.last_error or run.incomplete_details}"
    messages = client.beta.threads.messages.list(run.thread_id, run_id=run.id).data
    assert [message.role for message in messages] == ["assistant"]
    assert messages[0].status == "completed"
    return text_of(messages[0])


def events_on(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The events of a raw stream, by name, with their data; `done` too, which the SDK keeps to itself."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        if field == "data":
            yield name, value if value == "[DONE]" else json.loads(value)


def said_in(events: Sequence[tuple[str, Any]]) -> str:
    """The text that the deltas of a raw stream add up to."""
    deltas = [data["delta"]["content"] for name, data in events if name == "thread.message.delta"]
    return "".join(part["text"]["value"] for content in deltas for part in content)
