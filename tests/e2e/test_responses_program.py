"""What a program written for OpenAI's Responses sees here, under two majors of the official SDK and both clients.

The newer SDK runs in this process, each answer held to the official schemas; the older in an interpreter of its own.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conformance.checker import Checker
from tests.conformance.transport import checked_async_http_client, checked_http_client
from tests.e2e.deadline import ended_within
from tests.e2e.programs.either_client import opened
from tests.e2e.programs.responses_program import TURNS, program
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import API_KEY

PROGRAM_WITHIN_S = 40
PROGRAMS = [(sdk, kind) for sdk in ("3.54.0", "2.54.0") for kind in ("sync", "async")]
ANSWERED = '[stand-in] The tools answered: get_price returned "101.25".'
STREAM = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * 3,
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
Seen = dict[str, Any]


@pytest.fixture(scope="module", params=PROGRAMS, ids=["-".join(pair) for pair in PROGRAMS])
def seen(request: pytest.FixtureRequest, live_api: str, conformance: Checker) -> Seen:
    """Give what the program saw, once for each SDK and kind of client."""
    sdk, kind = request.param
    if sdk == openai.__version__:
        with ended_within(PROGRAM_WITHIN_S):
            answer = asyncio.run(in_this_process(kind, live_api, conformance))
    else:
        answer = in_its_own_process(kind, live_api, request.getfixturevalue("second_sdk"))
    assert answer["version"] == sdk
    return answer


async def in_this_process(kind: str, url: str, checker: Checker) -> Seen:
    options: Any = {"base_url": url, "api_key": API_KEY, "max_retries": 0, "_strict_response_validation": True}
    client: Any
    if kind == "sync":
        client = openai.OpenAI(http_client=checked_http_client(checker), **options)
    else:
        client = openai.AsyncOpenAI(http_client=checked_async_http_client(checker), **options)
    async with opened(client):
        return await program(client)


def in_its_own_process(kind: str, url: str, sdk: Path) -> Seen:
    """Run the program with the SDK in `sdk` and nothing else: -S leaves this environment's packages out."""
    command = [sys.executable, "-S", "-m", "tests.e2e.programs.responses_program", kind]
    env = {"PYTHONPATH": str(sdk), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": API_KEY}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PROGRAM_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: Seen = json.loads(done.stdout)
    return answer


def test_the_program_used_every_method_that_the_sdk_has(seen: Seen) -> None:
    # A WebSocket, which this server does not speak.
    assert seen["not_called"] == ["responses.connect"]


def test_a_plain_response(seen: Seen) -> None:
    plain = seen["plain"]
    assert (plain["status"], seen["text"], plain["instructions"]) == ("completed", "hello", "Be brief.")
    assert seen["retrieved"] == plain
    assert [item["content"][0]["text"] for item in seen["input"]] == ["say exactly: hello"]


def test_a_stream(seen: Seen) -> None:
    streamed = seen["streamed"]
    assert streamed["events"] == STREAM
    assert streamed["numbers"] == list(range(len(STREAM)))
    assert (streamed["text"], streamed["last"]["status"]) == ("one two three", "completed")


def test_the_helper_of_streams(seen: Seen) -> None:
    text, call, read = (seen["helped"][name] for name in ("text", "call", "class"))
    assert {one["last"] for one in (text, call, read)} == {"response.completed"}
    assert (text["text"], text["output"]) == ("one two three", ["message"])
    assert (call["output"], json.loads(call["arguments"])) == (["function_call"], {"symbol": "ACME"})
    assert read["read"] == json.loads(read["text"])


def test_an_answer_is_read_into_a_class(seen: Seen) -> None:
    quote, kind = seen["parsed"]
    assert (quote.keys(), kind) == ({"symbol", "price"}, "Quote")


@pytest.mark.parametrize("context", ["chain", "conversation"])
def test_a_loop_of_tool_calls(seen: Seen, context: str) -> None:
    assert seen["tools"][context] == {"calls": [{"symbol": "ACME"}], "text": ANSWERED}


def test_a_response_of_the_background_is_polled(seen: Seen) -> None:
    first, *_, last = seen["background"]["statuses"]
    assert (first, last, seen["background"]["text"]) == ("queued", "completed", "later")


def test_a_cut_stream_is_resumed(seen: Seen) -> None:
    resumed = seen["resumed"]
    assert resumed["numbers"] == list(range(len(resumed["numbers"])))
    assert (resumed["text"], resumed["last"], resumed["final"]) == (
        *("a b c d e f", "response.completed"),
        "a b c d e f",
    )


def test_cancelling_twice(seen: Seen) -> None:
    assert seen["cancelled"] == {"statuses": ["cancelled", "cancelled"]}


def test_ten_turns_of_a_conversation(seen: Seen) -> None:
    texts = [str(n) for n in range(TURNS)]
    assert seen["turns"] == {
        "texts": texts,
        "items": [text for n in texts for text in (f"say exactly: {n}", n)],
    }


def test_forks(seen: Seen) -> None:
    assert seen["forks"] == ["root", "left", "right", "deeper"]


def test_what_is_not_stored(seen: Seen) -> None:
    assert seen["unstored"]["text"] == ANSWERED.replace("101.25", "7")
    assert (seen["unstored"]["gone"]["class"], seen["unstored"]["gone"]["status_code"]) == ("NotFoundError", 404)


def test_counting_and_compacting(seen: Seen) -> None:
    assert seen["input_tokens"]["input_tokens"] > 4
    assert [item["type"] for item in seen["compact"]["output"]] == ["compaction"]
    assert seen["after_compact"] == "completed"


def test_deleting(seen: Seen) -> None:
    assert seen["deleted"] is None
    assert (seen["gone"]["class"], seen["gone"]["code"]) == ("NotFoundError", None)


def test_refusals(seen: Seen) -> None:
    unknown, tool = seen["unknown"], seen["another_tool"]
    assert (unknown["class"], unknown["code"]) == ("BadRequestError", "previous_response_not_found")
    assert (tool["class"], tool["param"], tool["code"]) == ("BadRequestError", "tools[0].type", "invalid_value")
