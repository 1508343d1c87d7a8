"""Frameworks built on Assistants have a tool conversation with us, each in an interpreter of its own.

What they saw is theirs to tell; what they left on the thread is read back here, held to the official schemas.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.conformance.checker import Checker
from tests.conformance.transport import checked_http_client
from tests.e2e import prepare
from tests.e2e.frameworks.programs.conversation import QUESTION, THANKS
from tests.e2e.prepare import AUTOGEN, LANGCHAIN, SEMANTIC_KERNEL, Package
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import API_KEY

PROGRAM_WITHIN_S = 40
SDK = "3.54.0"
PROGRAMS = {LANGCHAIN: "langchain_program", SEMANTIC_KERNEL: "semantic_kernel_program", AUTOGEN: "autogen_program"}
WAYS = [
    (LANGCHAIN, "executor"),
    (LANGCHAIN, "by hand"),
    (SEMANTIC_KERNEL, "polled"),
    (SEMANTIC_KERNEL, "streamed"),
    (AUTOGEN, "waited"),
    (AUTOGEN, "followed"),
]
# Semantic Kernel puts the plugin's name before the function's.
PREFIXES = {SEMANTIC_KERNEL: "Market-"}
Seen = dict[str, Any]


@pytest.fixture(scope="module", params=WAYS, ids=[f"{package.name}-{way}" for package, way in WAYS])
def seen(request: pytest.FixtureRequest, live_api: str) -> Seen:
    """Give what a framework saw of the conversation, once for each way it has; and the names of its functions."""
    package, way = request.param
    prefix = PREFIXES.get(package, "")
    return told_by(package, way, live_api) | {"names": [f"{prefix}get_price", f"{prefix}get_volume"]}


def told_by(package: Package, way: str, url: str) -> Seen:
    """Run a framework's program with the framework and nothing else: -S leaves this environment's packages out."""
    try:
        folder = prepare.prepare(package)
    except prepare.Unprepared as problem:
        pytest.fail(f"{package.name} is not here; {prepare.COMMAND} {package.name} says: {problem}", pytrace=False)
    command = [sys.executable, "-S", "-m", f"tests.e2e.frameworks.programs.{PROGRAMS[package]}", way]
    env = {"PYTHONPATH": str(folder), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": API_KEY}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PROGRAM_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: Seen = json.loads(done.stdout)
    assert answer["versions"] == [package.version, SDK]
    return answer


@pytest.fixture(scope="module")
def client(live_api: str, conformance: Checker) -> Iterator[openai.OpenAI]:
    """Give a client that takes only what the official schemas allow."""
    http_client = checked_http_client(conformance)
    with openai.OpenAI(base_url=live_api, api_key=API_KEY, max_retries=0, http_client=http_client) as client:
        yield client


def answer_of(seen: Seen) -> str:
    price, volume = seen["names"]
    return f'[stand-in] The tools answered: {price} returned "101.25"; {volume} returned "3200".'


def text_of(message: Any) -> str:
    return "".join(part.text.value for part in message.content)


def test_a_framework_is_asked_for_its_functions_and_answered_with_what_they_gave(seen: Seen) -> None:
    price, volume = seen["names"]
    symbol = {"symbol": "ACME"}
    assert seen["calls"] == [[price, symbol, "101.25"], [volume, symbol, "3200"]]
    assert seen["answer"] == answer_of(seen)


def test_the_second_turn_has_the_first_before_it_with_its_calls(seen: Seen) -> None:
    # Instructions, question, the calls, two outputs, answer, thanks.
    assert seen["second"].startswith(f'[stand-in] You wrote: "{THANKS}". I saw 7 messages of context.')


def test_the_thread_is_left_with_the_conversation_and_nothing_else(seen: Seen, client: openai.OpenAI) -> None:
    messages = list(client.beta.threads.messages.list(seen["thread_id"], order="asc"))
    said = [(message.role, text_of(message)) for message in messages]
    assert said == [
        ("user", QUESTION),
        ("assistant", answer_of(seen)),
        ("user", THANKS),
        ("assistant", seen["second"]),
    ]


def test_each_turn_is_one_run_and_the_first_shows_its_calls(seen: Seen, client: openai.OpenAI) -> None:
    first, second = client.beta.threads.runs.list(seen["thread_id"], order="asc")
    assert (first.status, second.status) == ("completed", "completed")
    called, said = client.beta.threads.runs.steps.list(first.id, thread_id=seen["thread_id"], order="asc")
    assert (called.status, said.status, said.type) == ("completed", "completed", "message_creation")
    assert called.step_details.type == "tool_calls"
    functions = [call.function for call in called.step_details.tool_calls if call.type == "function"]
    assert [[f.name, json.loads(f.arguments), f.output] for f in functions] == seen["calls"]


@pytest.mark.parametrize("seen", [(SEMANTIC_KERNEL, "streamed")], indirect=True, ids=["semantic-kernel"])
def test_a_streaming_framework_gets_both_turns_in_pieces(seen: Seen) -> None:
    first, second = seen["pieces"]
    assert len(first) > 10
    assert len(second) > 10


@pytest.mark.parametrize("seen", [(SEMANTIC_KERNEL, "polled")], indirect=True, ids=["semantic-kernel"])
def test_semantic_kernel_reads_the_thread_back_page_by_page(seen: Seen) -> None:
    assert seen["read"] == [QUESTION, answer_of(seen), THANKS, seen["second"]]
