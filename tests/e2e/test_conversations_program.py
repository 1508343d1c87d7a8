"""What a program written for OpenAI's Conversations sees here, under two majors of the official SDK and both clients.

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
from tests.e2e.programs.conversations_program import ITEMS, MANY, program
from tests.e2e.programs.either_client import opened
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import API_KEY

PROGRAM_WITHIN_S = 30
PROGRAMS = [(sdk, kind) for sdk in ("3.54.0", "2.54.0") for kind in ("sync", "async")]
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
    command = [sys.executable, "-S", "-m", "tests.e2e.programs.conversations_program", kind]
    env = {"PYTHONPATH": str(sdk), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": API_KEY}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PROGRAM_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: Seen = json.loads(done.stdout)
    return answer


def test_the_program_used_every_method_that_the_sdk_has(seen: Seen) -> None:
    assert seen["not_called"] == []


def test_a_conversation_is_what_its_maker_said(seen: Seen) -> None:
    made = seen["made"]
    assert (made["object"], made["metadata"]) == ("conversation", {"desk": "metals"})
    assert seen["retrieved"] == made
    assert seen["updated"] == made | {"metadata": {"desk": "energy"}}
    assert seen["after_deletion"] == seen["updated"]
    assert seen["bare"]["metadata"] == {}
    assert seen["deleted"] == {"id": made["id"], "object": "conversation.deleted", "deleted": True}


def test_its_items_are_those_that_were_sent(seen: Seen) -> None:
    items = seen["items"]
    assert [item["type"] for item in items] == [item.get("type", "message") for item in ITEMS]
    assert [item.get("role") for item in items] == [item.get("role") for item in ITEMS]
    told, asked, called, answered, said = items
    assert [part["content"][0]["text"] for part in (told, asked, said)] == [
        *("Be brief.", "what does ACME cost?", "101.25 dollars")
    ]
    assert (called["name"], called["arguments"]) == ("get_price", '{"symbol":"ACME"}')
    assert (called["call_id"], answered["call_id"], answered["output"]) == ("call_1", "call_1", "101.25")
    assert {item["status"] for item in items} == {"completed"}
    assert seen["item"] == called


def test_what_the_sdk_was_given_it_can_send_back(seen: Seen) -> None:
    again = seen["sent_back"]["data"]
    assert [{**item, "id": None} for item in again] == [{**item, "id": None} for item in seen["items"]]
    assert not {item["id"] for item in again} & {item["id"] for item in seen["items"]}
    assert (seen["sent_back"]["first_id"], seen["sent_back"]["last_id"]) == (again[0]["id"], again[-1]["id"])


def test_the_sdk_pages_by_the_last_id_of_the_envelope(seen: Seen) -> None:
    numbers = [str(number) for number in range(MANY)]
    assert seen["paged"] == {"newest first": numbers[::-1], "oldest first": numbers}


def test_mistakes_are_the_sdks_own_errors(seen: Seen) -> None:
    made = seen["made"]["id"]
    unknown, wrong, gone = seen["unknown"], seen["wrong"], seen["gone"]
    assert (unknown["class"], gone["class"], wrong["class"]) == ("NotFoundError", "NotFoundError", "BadRequestError")
    assert unknown["body"]["message"] == f"Item with id 'msg_1' not found in conversation '{made}'."
    assert gone["body"]["message"] == f"Conversation with id '{made}' not found."
    assert (wrong["code"], wrong["param"]) == ("invalid_value", "items[0].type")
