"""What a program written for OpenAI sees here, under both majors of the official SDK and both kinds of client.

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
from tests.e2e.programs.assistants_program import program
from tests.e2e.programs.either_client import opened
from tests.e2e.programs.plain_calls import MANY
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import API_KEY

PROGRAM_WITHIN_S = 30
PROGRAMS = [(sdk, kind) for sdk in ("3.54.0", "1.109.1") for kind in ("sync", "async")]
# Function calls and cancellation come with the issue "Runs, complete and durable"; models cannot be deleted.
NOT_YET = [
    "beta.threads.runs.cancel",
    "beta.threads.runs.submit_tool_outputs",
    "beta.threads.runs.submit_tool_outputs_and_poll",
    "beta.threads.runs.submit_tool_outputs_stream",
    "models.delete",
]
STREAM = [
    "thread.run.created",
    "thread.run.queued",
    "thread.run.in_progress",
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
    *["thread.message.delta"] * 3,
    "thread.message.completed",
    "thread.run.step.completed",
    "thread.run.completed",
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
        answer = in_its_own_process(kind, live_api, request.getfixturevalue("older_sdk"))
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
    command = [sys.executable, "-S", "-m", "tests.e2e.programs.assistants_program", kind]
    env = {"PYTHONPATH": str(sdk), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": API_KEY}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PROGRAM_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: Seen = json.loads(done.stdout)
    return answer


def numbers(start: int, stop: int) -> list[str]:
    step = 1 if start <= stop else -1
    return [str(n) for n in range(start, stop, step)]


def test_the_program_used_every_method_that_the_sdk_has(seen: Seen) -> None:
    assert seen["not_called"] == NOT_YET


def test_an_assistant_is_what_its_maker_said(seen: Seen) -> None:
    full = seen["assistants"]["full"]
    function = {"name": "quote", "parameters": {"type": "object"}}
    assert full["name"] == "Desk"
    assert full["description"] == "Answers the trading desk."
    assert full["instructions"] == "Be brief."
    assert full["metadata"] == {"desk": "metals"}
    assert (full["temperature"], full["top_p"], full["response_format"]) == (0.5, 0.25, {"type": "text"})
    assert full["tools"][0]["function"].items() >= function.items()
    assert seen["assistants"]["retrieved"] == full
    changes = {"name": "Metals desk", "description": None, "metadata": {}}
    assert seen["assistants"]["updated"] == full | changes


def test_explicit_nulls_are_the_same_as_nothing_said(seen: Seen) -> None:
    bare = seen["assistants"]["bare"]
    assert [bare[name] for name in ("name", "description", "instructions", "tools")] == [None, None, None, []]
    assert (bare["metadata"], bare["response_format"]) == ({}, "auto")
    assert seen["threads"]["bare"]["metadata"] == {}
    assert seen["threads"]["emptied"]["metadata"] == {}
    assert (seen["messages"]["bare"]["metadata"], seen["messages"]["bare"]["attachments"]) == ({}, [])
    assert seen["messages"]["emptied"]["metadata"] == {}
    for run in (seen["runs"]["bare"], seen["threads_with_runs"]["run"]):
        assert run["status"] == "queued"
        assert (run["instructions"], run["model"], run["temperature"], run["top_p"]) == (
            "Be brief.",
            "gpt-4o",
            0.5,
            0.25,
        )
        assert (run["tool_choice"], run["parallel_tool_calls"], run["response_format"]) == (
            "auto",
            True,
            {"type": "text"},
        )
        assert (run["max_prompt_tokens"], run["max_completion_tokens"], run["metadata"]) == (None, None, {})
        assert [tool["function"]["name"] for tool in run["tools"]] == ["quote"]


def test_the_sdk_pages_by_itself_over_more_than_a_page(seen: Seen) -> None:
    assert len(seen["assistants"]["made"]) == MANY
    assert seen["assistants"]["paged"] == seen["assistants"]["made"]
    assert seen["assistants"]["newest"]["data"][0]["id"] == seen["assistants"]["made"][-1]
    assert seen["assistants"]["newest"]["has_more"] is True
    assert seen["messages"]["oldest_first"] == numbers(0, MANY)
    assert seen["messages"]["newest_first"] == numbers(MANY - 1, -1)
    assert seen["messages"]["after_60"] == numbers(61, MANY)
    assert seen["messages"]["defaults"] == numbers(MANY - 1, MANY - 21)
    assert seen["runs"]["listed"] == [seen["runs"]["full"]["id"], seen["runs"]["bare"]["id"]]


def test_a_program_can_walk_back_page_by_page(seen: Seen) -> None:
    assert seen["messages"]["back_from_60"] == numbers(30, 60)
    assert seen["messages"]["all_back_from_60"] == [numbers(40, 60), numbers(20, 40), numbers(0, 20)]


def test_a_thread_lives_and_goes(seen: Seen) -> None:
    full = seen["threads"]["full"]
    assert full["metadata"] == {"book": "gold"}
    assert seen["threads"]["messages"] == ["one", "two"]
    assert seen["threads"]["retrieved"] == full
    assert seen["threads"]["updated"] == full | {"metadata": {"book": "silver"}}
    assert seen["threads"]["deleted"] == {"id": full["id"], "object": "thread.deleted", "deleted": True}
    assert seen["refusals"]["deleted"]["status_code"] == 404


def test_a_message_lives_and_goes(seen: Seen) -> None:
    full, bare = seen["messages"]["full"], seen["messages"]["bare"]
    assert [part["text"]["value"] for part in full["content"]] == ["first part", "second part"]
    assert (full["role"], bare["role"], full["status"]) == ("assistant", "user", "completed")
    assert full["attachments"] == [{"file_id": "file-abc123", "tools": [{"type": "file_search"}]}]
    assert seen["messages"]["retrieved"] == full
    assert seen["messages"]["updated"] == full | {"metadata": {"c": "d"}}
    assert seen["messages"]["deleted"] == {"id": bare["id"], "object": "thread.message.deleted", "deleted": True}
    assert seen["messages"]["left"] == [full["id"]]


def test_deleted_assistants_are_named(seen: Seen) -> None:
    gone = [{"id": made, "object": "assistant.deleted", "deleted": True} for made in seen["assistants"]["made"][:2]]
    assert seen["assistants"]["deleted"] == gone


def test_a_run_takes_what_its_maker_wished_over_the_assistant(seen: Seen) -> None:
    full = seen["runs"]["full"]
    assert (full["status"], full["instructions"]) == ("completed", "Be long.\nOr not.")
    assert (full["temperature"], full["top_p"], full["tool_choice"], full["tools"]) == (0, 1, "none", [])
    assert (full["max_prompt_tokens"], full["max_completion_tokens"]) == (1000, 1000)
    assert full["truncation_strategy"] == {"type": "last_messages", "last_messages": 3}
    assert (full["parallel_tool_calls"], full["response_format"], full["metadata"]) == (False, "auto", {"k": "v"})
    assert seen["runs"]["retrieved"] == full
    assert seen["runs"]["updated"] == full | {"metadata": {"k": "w"}}


def test_a_polled_run_leaves_its_answer_and_its_step(seen: Seen) -> None:
    runs, step = seen["runs"], seen["runs"]["step"]
    assert runs["polled"]["id"] == runs["bare"]["id"]
    assert (runs["polled"]["status"], runs["polled"]["expires_at"]) == ("completed", None)
    assert runs["said"] == ["say exactly: one", "one", "say exactly: two", "two"]
    assert runs["said_in_run"] == ["two"]
    assert runs["steps"] == [step]
    assert (step["status"], step["type"], step["run_id"]) == ("completed", "message_creation", runs["full"]["id"])
    assert step["usage"] == runs["full"]["usage"]
    assert step["usage"]["total_tokens"] == step["usage"]["prompt_tokens"] + step["usage"]["completion_tokens"]


def test_a_thread_can_be_made_and_run_at_once(seen: Seen) -> None:
    both = seen["threads_with_runs"]
    assert both["polled"]["status"] == "completed"
    assert both["said"] == ["x", "say exactly: x"]
    assert both["events"] == ["thread.created", *without_a_delta(STREAM)]
    assert both["handled"]["said"] == ["three four"]
    assert both["handled"]["run"]["status"] == "completed"


def without_a_delta(names: list[str]) -> list[str]:
    position = names.index("thread.message.delta")
    return names[:position] + names[position + 1 :]


def test_each_way_to_stream_tells_the_same(seen: Seen) -> None:
    iterated = seen["streams"]["iterated"]
    assert [event["event"] for event in iterated] == STREAM
    assert iterated[-1]["data"]["status"] == "completed"
    assert seen["streams"]["named"] == STREAM
    assert seen["raw"]["named"] == STREAM
    names = [line.removeprefix("event: ") for line in seen["raw"]["lines"] if line.startswith("event: ")]
    assert names == [*STREAM, "done"]
    assert seen["streams"]["deltas"] == ["a", " b", " c"]


def test_an_event_handler_is_told_everything_in_order(seen: Seen) -> None:
    handled = seen["streams"]["handled"]
    told = handled["told"]
    assert [call[1]["event"] for call in told if call[0] == "on_event"] == STREAM
    assert [call[0] for call in told if call[0] != "on_event"] == [
        "on_run_step_created",
        "on_message_created",
        "on_text_created",
        *["on_text_delta", "on_message_delta"] * 3,
        "on_text_done",
        "on_message_done",
        "on_run_step_done",
        "on_end",
    ]
    assert [call[2]["value"] for call in told if call[0] == "on_text_delta"] == ["a", "a b", "a b c"]
    assert [call[1]["value"] for call in told if call[0] == "on_text_done"] == ["a b c"]
    assert [call[1]["status"] for call in told if call[0] == "on_run_step_done"] == ["completed"]
    assert handled["said"] == ["a b c"]
    assert (handled["run"]["status"], len(handled["steps"])) == ("completed", 1)


def test_raw_answers_carry_openais_headers(seen: Seen) -> None:
    raw = seen["raw"]
    assert raw["status"] == 200
    assert raw["headers"]["x-request-id"] == raw["request_id"]
    assert raw["headers"]["openai-version"] == "2020-10-01"
    assert int(raw["headers"]["openai-processing-ms"]) >= 0
    assert raw["id_of_answer"].startswith("req_")
    assert raw["id_of_answer"] != raw["request_id"]
    assert raw["parsed"] == raw["streamed"]


@pytest.mark.parametrize(
    ("mistake", "error", "status", "code", "param"),
    [
        ("no assistant", "NotFoundError", 404, None, None),
        ("no thread", "NotFoundError", 404, None, None),
        ("no message", "NotFoundError", 404, None, None),
        ("no run", "NotFoundError", 404, None, None),
        ("no assistant for a run", "NotFoundError", 404, None, None),
        ("no assistant for a stream", "NotFoundError", 404, None, None),
        ("no model", "NotFoundError", 404, "model_not_found", "model"),
        ("not an id", "BadRequestError", 400, "invalid_value", "thread_id"),
        ("limit", "BadRequestError", 400, "integer_above_max_value", "limit"),
        ("cursor", "BadRequestError", 400, "invalid_value", "after"),
        ("temperature", "BadRequestError", 400, "decimal_above_max_value", "temperature"),
        ("unknown field", "BadRequestError", 400, "unknown_parameter", "colour"),
        ("key", "AuthenticationError", 401, "invalid_api_key", None),
    ],
)
def test_a_mistake_is_the_sdks_own_error(
    seen: Seen, mistake: str, error: str, status: int, code: str | None, param: str | None
) -> None:
    told = seen["refusals"][mistake]
    assert (told["class"], told["status_code"], told["code"], told["param"]) == (error, status, code, param)
    assert told["type"] == "invalid_request_error"
    assert told["body"]["message"]
    assert told["request_id"].startswith("req_")


def test_the_models_are_listed_under_the_names_that_programs_use(seen: Seen) -> None:
    assert seen["models"]["listed"] == ["sovereign-standin", "gpt-4o"]
    assert seen["models"]["retrieved"]["id"] == "gpt-4o"
