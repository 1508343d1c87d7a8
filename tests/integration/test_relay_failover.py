"""Relayed requests over several model servers: who answers, what the client is told of it, and when nobody does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fakes.model_faults import cuts, replies, resets, sends
from tests.fakes.model_gate import waits
from tests.fakes.model_server import ModelServer, model_server
from tests.fakes.model_wire import DONE, died, models, role, text
from tests.fixtures.calls import assert_refused, get, new_thread, texts_of
from tests.fixtures.counted import counted
from tests.fixtures.rooms import CHAT, Served, served

pytestmark = pytest.mark.anyio

FILE = """
[[upstream]]
name = "main"
url = "{main}"
role = "chat"
concurrency = 1
context_window = 8192

[[upstream]]
name = "cpu"
url = "{cpu}"
fallback_for = ["main"]
fallback_model = "small"
concurrency = 1
context_window = 256

[aliases]
"gpt-4o" = "large"
"""
TOLD = {"x-model-upstream": "cpu", "x-model-fallback": "true"}


class Pair(NamedTuple):
    """An API over two model servers."""

    on: Served
    main: ModelServer
    cpu: ModelServer

    async def ask(self, model: str = "gpt-4o", path: str = CHAT, **fields: Any) -> Any:
        """Ask for a streamed answer."""
        body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True, **fields}
        return await self.on.client.post(path, json=body)


def asked(server: ModelServer) -> list[str]:
    return [request.json["model"] for request in server.requests if request.path == CHAT]


def goes_away(server: ModelServer) -> None:
    server.listing = resets(head=False)
    server.script.extend([resets(head=False)] * 50)


def told(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-model-")}


@pytest.fixture
async def pair(conformance: Any, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Pair]:
    """Give an API over a main server and one that stands in for it, each for one request at once."""
    async with model_server() as main, model_server() as cpu:
        main.listing, cpu.listing = replies(200, models("large")), replies(200, models("small"))
        file = tmp_path / "models.toml"
        file.write_text(FILE.format(main=main.url, cpu=cpu.url))
        env = {"DATABASE_URL": f"sqlite:///{tmp_path}/sovereign_assistant.db", "MODELS_FILE": str(file)}
        async with served(conformance, **env) as on:
            await get(on.client, "/v1/models")
            yield Pair(on, main, cpu)


async def test_the_other_answers_at_once_when_the_first_cannot_be_reached_and_the_client_is_told(pair: Pair) -> None:
    assert told(await pair.ask()) == {}
    goes_away(pair.main)
    for _ in range(2):
        answer = await pair.ask()
        assert (answer.status_code, told(answer)) == (200, TOLD)
        assert "hello" in answer.text
    assert asked(pair.cpu) == ["small", "small"]
    assert len(asked(pair.main)) == 3  # one answered, one met a closed connection and was sent once more


async def test_each_answer_by_the_other_is_counted_once_also_in_a_chat_with_a_thread(pair: Pair) -> None:
    goes_away(pair.main)
    before = counted("upstream_failovers_total", upstream="cpu")
    assert told(await pair.ask()) == TOLD
    thread = await new_thread(pair.on.client, "first")
    assert told(await pair.ask(thread_id=thread)) == TOLD
    assert counted("upstream_failovers_total", upstream="cpu") == before + 2


async def test_an_answer_that_breaks_off_is_a_failure_of_its_server(pair: Pair) -> None:
    before = counted("upstream_failures_total", upstream="main", kind="broke")
    for fault in (cuts(role(), text("half ")), sends(role(), died() + DONE)):
        pair.main.script.append(fault)
        assert "error" in (await pair.ask()).text
    assert counted("upstream_failures_total", upstream="main", kind="broke") == before + 2


async def test_nothing_is_asked_again_after_its_first_byte(pair: Pair) -> None:
    pair.main.script.append(cuts(role(), text("half ")))
    answer = await pair.ask()
    assert (answer.status_code, told(answer)) == (200, {})
    assert "error" in answer.text
    assert (asked(pair.main), asked(pair.cpu)) == (["large"], [])


async def test_a_full_server_leaves_requests_to_the_other_and_when_both_are_full_it_is_429(pair: Pair) -> None:
    gate = asyncio.Event()
    pair.main.script.append(waits(gate, "one"))
    pair.cpu.script.append(waits(gate, "two"))
    first = asyncio.create_task(pair.ask())
    while not asked(pair.main):
        await asyncio.sleep(0.005)
    second = asyncio.create_task(pair.ask())
    while not asked(pair.cpu):
        await asyncio.sleep(0.005)
    before = counted("limit_refusals_total", bound="model server")
    refused = await pair.ask()
    assert counted("limit_refusals_total", bound="model server") == before + 1
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    gate.set()
    assert [told(await answer) for answer in (first, second)] == [{}, TOLD]
    assert told(await pair.ask()) == {}


async def test_with_both_away_it_is_503_and_an_unknown_model_is_404_always(pair: Pair) -> None:
    for server in (pair.main, pair.cpu):
        goes_away(server)
    for _ in range(2):
        answer = await pair.ask()
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "service_unavailable_error")
        assert int(answer.headers["retry-after"]) > 0
    text = "The model `nope` does not exist or you do not have access to it."
    assert_refused(await pair.ask("nope"), text, status=404, code="model_not_found")


async def test_a_server_for_chats_gets_no_embeddings(pair: Pair) -> None:
    body = {"model": "large", "input": "x"}
    answer = await pair.on.client.post("/v1/embeddings", json=body)
    text = "The model `large` does not exist or you do not have access to it."
    assert_refused(answer, text, status=404, code="model_not_found")
    assert (asked(pair.main), asked(pair.cpu)) == ([], [])


LONG = "gold " * 30


async def test_a_chat_with_a_thread_is_cut_down_to_the_window_of_the_server_that_answers(pair: Pair) -> None:
    thread = await new_thread(pair.on.client, *[f"{number} {LONG}" for number in range(12)])
    assert told(await pair.ask(thread_id=thread)) == {}
    assert len(pair.main.requests[-1].json["messages"]) == 13
    goes_away(pair.main)
    pair.cpu.script.append(replies(404, b"{}"))  # it has no tokenizer
    answer = await pair.ask(thread_id=thread)
    assert (answer.status_code, told(answer)) == (200, TOLD)
    shown = [message["content"] for message in pair.cpu.requests[-1].json["messages"]]
    assert shown[-3:] == ["x", "hello there", "x"]
    assert [one.split()[0] for one in shown[:-3]] == [str(number) for number in range(15 - len(shown), 12)]
    assert 3 < len(shown) < 9, "no more than 256 tokens, and not much less"
    assert (await texts_of(pair.on.client, thread))[-2:] == ["x", "hello there"]


async def test_a_chat_that_fits_only_the_server_that_is_away_is_refused_and_leaves_no_trace(pair: Pair) -> None:
    goes_away(pair.main)
    thread = await new_thread(pair.on.client, "first")
    pair.cpu.script.append(replies(200, b'{"count": 300}'))
    messages = [{"role": "user", "content": LONG * 10}]
    answer = await pair.ask(thread_id=thread, messages=messages)
    assert_refused(answer, answer.json()["error"]["message"], param="messages", code="context_length_exceeded")
    assert "the model's context window is 256" in answer.json()["error"]["message"]
    assert (asked(pair.cpu), await texts_of(pair.on.client, thread)) == ([], ["first"])
