"""Frameworks built on Responses talk with us, use a tool, and go on from what was said; each says what it saw."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e import prepare
from tests.e2e.prepare import RESPONSES
from tests.fixtures.processes import ROOT
from tests.fixtures.servers import API_KEY

PROGRAM_WITHIN_S = 60
OF_THE_TOOL = '[stand-in] The tools answered: get_price returned "101.25".'
Seen = dict[str, Any]


def told_by(program: str, url: str) -> Seen:
    """Run a framework's program with the frameworks and nothing else: -S leaves this environment's packages out."""
    try:
        folder = prepare.prepare(RESPONSES)
    except prepare.Unprepared as problem:
        pytest.fail(f"{RESPONSES.name} is not here; {prepare.COMMAND} says: {problem}", pytrace=False)
    command = [sys.executable, "-S", "-m", f"tests.e2e.frameworks.programs.{program}"]
    env = {"PYTHONPATH": str(folder), "OPENAI_BASE_URL": url, "OPENAI_API_KEY": API_KEY}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PROGRAM_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: Seen = json.loads(done.stdout)
    return seen


def test_the_agents_sdk(live_api: str) -> None:
    seen = told_by("agents_program", live_api)
    assert seen["tool"] == seen["streamed"] == OF_THE_TOOL
    assert (seen["after a response"], seen["in a session"]) == ("later", "more")
    assert seen["events"] > 20
    told = ["message", "function_call", "function_call_output", "message"]
    assert seen["items"] == [*told, "message", "message"]
    assert seen["conversation"] == list(reversed(told))
    assert set(seen["typed"]) == {"name", "price"}


def test_langchain(live_api: str) -> None:
    seen = told_by("langchain_responses_program", live_api)
    assert seen["tool"] == OF_THE_TOOL
    assert seen["messages"] == ["human", "ai", "tool", "ai"]
    assert seen["streamed"] == "gold rose today"
    assert "What did I say?" in seen["after a response"]
    assert "3 messages" in seen["after a response"]  # the two before it were not sent again
    assert set(seen["typed"]) == {"name", "price"}


def test_pydantic_ai(live_api: str) -> None:
    seen = told_by("pydantic_ai_program", live_api)
    assert seen["tool"] == seen["streamed"] == OF_THE_TOOL
    assert (seen["history"], seen["after a response"]) == ("more", "later")
    assert set(seen["typed"]) == {"name", "price"}
