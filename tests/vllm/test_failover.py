"""Two real vLLMs behind one API, and the first is killed: the second answers until the first is back on its port."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.vllm import prepare
from tests.vllm.api import START_WITHIN_S, STOP_WITHIN_S, Api
from tests.vllm.engine import MODEL, Engine
from tests.vllm.lines import ENDLESS, INSTRUCTIONS, SAY_HELLO, TAUGHT, TELL_A_STORY
from tests.vllm.server import stopped_after
from tests.vllm.talk import answer_of, as_chat, new_thread, say

UPSTREAM = """
[[upstream]]
name = "{name}"
url = "{url}"
api_key = "{key}"
"""
OF_THE_SECOND = {"x-model-upstream": "second", "x-model-fallback": "true"}
CHUNKS_BEFORE = 20
IDLE_WITHIN_S = 15.0
GIVEN_BACK_WITHIN_S = 5.0
PLAIN: dict[str, Any] = {"model": MODEL, "messages": as_chat([SAY_HELLO]), "temperature": 0}


@pytest.fixture
def client(small_engine: Engine, engine: Engine, tmp_path: Path) -> Iterator[openai.OpenAI]:
    """A client of an API that asks the small engine first, and the other while that one is away."""
    servers = {"first": small_engine, "second": engine}
    file = tmp_path / "models.toml"
    file.write_text("".join(UPSTREAM.format(name=name, url=one.url, key=one.key) for name, one in servers.items()))
    api = Api(tmp_path)
    of_one_server = ("MODEL_URL", "MODEL_API_KEY")
    settings = {name: value for name, value in api.environment(engine).items() if name not in of_one_server}
    with stopped_after(api, STOP_WITHIN_S):
        api.start(settings | {"MODELS_FILE": str(file)}, prepare.ROOT, START_WITHIN_S)
        with openai.OpenAI(base_url=api.url, api_key=api.key, max_retries=0, timeout=60) as client:
            yield client


def answered(engine: Engine) -> int:
    """How many requests an engine has begun in its life."""
    return int(engine.metric("vllm:request_prompt_tokens_count"))


def told(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-model-")}


def chat(client: openai.OpenAI) -> dict[str, str]:
    """Ask once; return what the headers tell of who answered."""
    answer = client.chat.completions.with_raw_response.create(**PLAIN)
    assert answer.parse().choices[0].message.content == TAUGHT[SAY_HELLO]
    return told(answer)


def stream(client: openai.OpenAI) -> dict[str, str]:
    """Do the same with a stream."""
    answer = client.chat.completions.with_raw_response.create(**PLAIN, stream=True)
    said = [choice.delta.content or "" for chunk in answer.parse() for choice in chunk.choices]
    assert "".join(said) == TAUGHT[SAY_HELLO]
    return told(answer)


def kill_under_a_stream(client: openai.OpenAI, first: Engine) -> int:
    """Kill the server in the middle of an answer; return how many chunks came until the client was told an error."""
    chunks = 0
    begun = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=as_chat([TELL_A_STORY]), response_format=ENDLESS, stream=True
    )
    assert told(begun) == {}
    with pytest.raises(openai.APIError, match="model server"):
        for _ in begun.parse():
            chunks += 1
            if chunks == CHUNKS_BEFORE:
                first.kill()
    return chunks


def wait_until_given_back(client: openai.OpenAI) -> float:
    """Ask until it is not the second that answers; return how long that took."""
    began = time.monotonic()
    while chat(client) == OF_THE_SECOND:
        assert time.monotonic() - began < GIVEN_BACK_WITHIN_S, "the first is back and gets no requests"
        time.sleep(0.05)
    return time.monotonic() - began


def test_the_second_answers_when_the_first_is_killed_and_the_first_is_given_back_to(
    client: openai.OpenAI, small_engine: Engine, engine: Engine
) -> None:
    first, second = small_engine, engine
    for one in (first, second):
        one.wait_until_idle(IDLE_WITHIN_S)
    assert chat(client) == stream(client) == {}
    assert answered(first) >= 2

    before = answered(second)
    assert kill_under_a_stream(client, first) >= CHUNKS_BEFORE
    assert answered(second) == before, "an answer that had begun was asked for again"

    assert chat(client) == stream(client) == OF_THE_SECOND
    assistant = client.beta.assistants.create(model=MODEL, instructions=INSTRUCTIONS, temperature=0)
    run = say(client, new_thread(client), assistant.id, SAY_HELLO)
    assert answer_of(client, run) == TAUGHT[SAY_HELLO]
    assert answered(second) == before + 3

    first.begin()
    print(f"given back {wait_until_given_back(client):.2f} s after the first was ready on its port again")
    seen = answered(first), answered(second)
    assert stream(client) == {}
    run = say(client, new_thread(client), assistant.id, SAY_HELLO)
    assert answer_of(client, run) == TAUGHT[SAY_HELLO]
    assert (answered(first), answered(second)) == (seen[0] + 2, seen[1])
