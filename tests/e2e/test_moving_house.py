"""Moving house as an operator does it: the real commands against real servers, killed in the middle and repeated."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import pytest
from click.testing import CliRunner

from app.settings import variables
from ops.__main__ import main
from tests.fixtures.processes import ROOT, api_process, stop
from tests.fixtures.servers import API_KEY, MODEL
from tests.integration.moving.household import Json, everything, message, suffixed, thread

TOOL: Any = {"type": "function", "function": {"name": "get_price", "parameters": {"type": "object", "properties": {}}}}
MANY = 12_000
WITHIN_S = 40
UNSET = dict.fromkeys(name for one in variables() for name in (one.var.name, f"{one.var.name}_FILE"))


class Done(NamedTuple):
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


def ops(url: str, *arguments: str, key: str = API_KEY, given: bytes | None = None) -> Done:
    """Give a command in this process: a process of its own takes most of its time to start."""
    asked = [*arguments, "--url", url.removesuffix("/v1")]
    done = CliRunner(env=UNSET | {"API_KEY": key}).invoke(main, asked, input=given)
    return Done(done.exit_code, done.stdout, done.stderr)


def exported(url: str, *what: str) -> str:
    done = ops(url, "export", *(what or ("all",)))
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines_in(file: Path, *lines: Any) -> str:
    file.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
    return str(file)


@pytest.fixture
def houses(tmp_path: Path, stand_in_url: str) -> Iterator[list[str]]:
    """Give the addresses of two APIs with stores of their own."""
    with ExitStack() as stack:
        urls = []
        for name in ("old", "new"):
            env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/{name}.db", "MODEL_URL": stand_in_url}
            urls.append(stack.enter_context(api_process(tmp_path / f"{name}.log", env))[0])
        yield urls


def converse(url: str) -> tuple[str, str]:
    """Talk with tools on a thread, and in a conversation; return the thread and the last response of the latter."""
    with openai.OpenAI(base_url=url, api_key=API_KEY, max_retries=0) as sdk:
        assistant = sdk.beta.assistants.create(model=MODEL, tools=[TOOL], metadata={"ü": "☃"})
        asked: Any = [{"role": "user", "content": "What is the price of ACME?"}]
        held = sdk.beta.threads.create(messages=asked)
        run = sdk.beta.threads.runs.create_and_poll(thread_id=held.id, assistant_id=assistant.id, poll_interval_ms=20)
        assert run.required_action is not None
        outputs: Any = [
            {"tool_call_id": call.id, "output": "101.25"} for call in run.required_action.submit_tool_outputs.tool_calls
        ]
        run = sdk.beta.threads.runs.submit_tool_outputs_and_poll(
            run_id=run.id, thread_id=held.id, tool_outputs=outputs, poll_interval_ms=20
        )
        assert run.status == "completed"
        conversation = sdk.conversations.create(
            items=[{"type": "message", "role": "developer", "content": "Be brief."}]
        )
        sdk.responses.create(model=MODEL, input="say exactly: one", conversation=conversation.id)
        first = sdk.responses.create(model=MODEL, input="say exactly: two")
        last = sdk.responses.create(model=MODEL, input="say exactly: three", previous_response_id=first.id)
        return held.id, last.id


def test_everything_moves_and_goes_on_where_it_was(houses: list[str], tmp_path: Path) -> None:
    old, new = houses
    held, last = converse(old)
    file = lines_in(tmp_path / "all.jsonl", *exported(old).splitlines(), *suffixed(everything(), "x"))
    first = ops(new, "import", file)
    assert (first.returncode, first.stderr) == (0, "")
    assert "thread.message: " in first.stdout
    assert exported(new, "--thread", held) == exported(old, "--thread", held)
    assert ops(old, "import", file).returncode == 0
    assert exported(new) == exported(old)
    again = ops(new, "import", file, "--json")
    summary = json.loads(again.stdout.splitlines()[-1])["summary"]
    assert (summary["added"], summary["refused"]) == ({}, 0)
    with openai.OpenAI(base_url=new, api_key=API_KEY, max_retries=0) as sdk:
        texts = [one.content[0].text.value for one in sdk.beta.threads.messages.list(held, order="asc")]  # type: ignore[union-attr]
        assert texts == ["What is the price of ACME?", '[stand-in] The tools answered: get_price returned "101.25".']
        assert sdk.responses.retrieve(last).output_text.endswith("three")
        more = sdk.responses.create(model=MODEL, input="say exactly: four", previous_response_id=last)
        assert more.output_text.endswith("four")
        asked = sdk.responses.input_items.list(more.id)
        assert [item.type for item in asked] == ["message"]


@pytest.fixture
def project(live_api: str) -> str:
    """Give a project of an API that others use, too."""
    return str(json.loads(ops(live_api, "projects", "create", "a house", "--json").stdout)["id"])


def ids_in(url: str, project: str) -> list[str]:
    return [json.loads(line)["id"] for line in exported(url, "--project", project).splitlines()]


def test_bad_lines_are_named_and_told_by_the_exit_status(live_api: str, project: str, tmp_path: Path) -> None:
    names = [f"thread_{project}{number}" for number in (1, 2)]
    said = [message(number, names[0], id=f"msg_{project}{number}") for number in (1, 2)]
    file = lines_in(tmp_path / "some.jsonl", thread(names[0]), "nonsense", said[0], thread(names[1]))
    into = ("import", file, "--project", project)
    tried = ops(live_api, *into, "--dry-run")
    assert (tried.returncode, tried.stderr) == (1, "line 2: It is not JSON.\n1 lines were refused\n")
    assert tried.stdout == (
        "thread: 2 would be added, 0 there already\nthread.message: 1 would be added, 0 there already\n"
    )
    assert ops(live_api, *into, "--strict").returncode == 1
    assert ids_in(live_api, project) == []
    taken = ops(live_api, *into)
    assert (taken.returncode, taken.stderr) == (1, "line 2: It is not JSON.\n1 lines were refused\n")
    assert taken.stdout == "thread: 2 added, 0 there already\nthread.message: 1 added, 0 there already\n"
    lines_in(tmp_path / "some.jsonl", thread(names[0]), said[1], said[0], thread(names[1]))
    assert ops(live_api, *into).returncode == 0
    assert ids_in(live_api, project) == [names[0], said[0]["id"], said[1]["id"], names[1]]


def test_a_line_that_the_server_cannot_take_is_named_though_others_were_sent_with_it(
    live_api: str, project: str, tmp_path: Path
) -> None:
    deep: Json = {}
    for _ in range(80):
        deep = {"a": deep}
    refused = {"object": "assistant", "id": f"asst_{project}", "created_at": 1, "model": "m"}
    refused |= {"tools": [{"type": "function", "function": {"name": "f", "parameters": deep}}]}
    names = [f"thread_{project}{number}" for number in range(8)]
    file = lines_in(tmp_path / "deep.jsonl", *map(thread, names[:4]), refused, *map(thread, names[4:]))
    into = ("import", file, "--project", project)
    stopped = ops(live_api, *into, "--strict")
    assert (stopped.returncode, stopped.stderr[:43]) == (1, "line 5: Request body is nested too deeply. ")
    assert ids_in(live_api, project) == []
    assert ops(live_api, *into).returncode == 1
    assert ids_in(live_api, project) == names


def test_what_cannot_be_done_at_all_is_said_in_a_line(live_api: str, tmp_path: Path) -> None:
    file = lines_in(tmp_path / "x.jsonl", thread())
    for arguments, key, status, words in (
        (("import", file, "--project", "proj_nobodys"), API_KEY, 1, "No project found with id 'proj_nobodys'."),
        (("import", file), "sk-wrong-key-of-somebody", 1, "Incorrect API key provided: sk-***body."),
        (("export", "--thread", "thread_nobodys"), API_KEY, 1, "No thread found with id 'thread_nobodys'."),
        (("export", "all", "--project", "proj_default"), API_KEY, 2, "Give one of `all`, --project and --thread."),
        (("export",), API_KEY, 2, "Give one of `all`, --project and --thread."),
    ):
        done = ops(live_api, *arguments, key=key)
        assert (done.returncode, done.stdout) == (status, "")
        assert words in done.stderr
    done = ops("http://127.0.0.1:9", "import", file)
    assert (done.returncode, "no API answers at http://127.0.0.1:9" in done.stderr) == (1, True)


def test_a_file_has_its_name_when_it_is_whole_and_is_the_owners_alone(
    live_api: str, project: str, tmp_path: Path
) -> None:
    file = tmp_path / "out" / "all.jsonl"
    file.parent.mkdir()
    given = json.dumps(thread(f"thread_{project}")).encode()
    assert ops(live_api, "import", "-", "--project", project, given=given).returncode == 0
    assert ops(live_api, "export", "--thread", "thread_nobodys", "--output", str(file)).returncode == 1
    assert list(file.parent.iterdir()) == []
    assert ops(live_api, "export", "--project", project, "--output", str(file)).returncode == 0
    assert (file.read_text(), file.stat().st_mode & 0o777) == (exported(live_api, "--project", project), 0o600)
    assert list(file.parent.iterdir()) == [file]


def many(file: Path) -> str:
    """Write messages that take a few seconds to bring in."""
    with file.open("w") as out:
        for number in range(MANY):
            name = thread_name(number // 50)
            if number % 50 == 0:
                out.write(json.dumps(thread(name, last_position=50)) + "\n")
            fields = {"id": f"msg_{number:024}", "position": number % 50 + 1, "content": f"message {number}"}
            out.write(json.dumps(message(number, name, **fields)) + "\n")
    return str(file)


def thread_name(number: int) -> str:
    return f"thread_{number:024}"


def wait_for_thread(url: str, number: int, command: "subprocess.Popen[str]") -> None:
    """Wait until so many threads were brought in, before the command has ended; the test itself has a limit."""
    with httpx2.Client(headers={"Authorization": f"Bearer {API_KEY}"}, timeout=WITHIN_S) as api:
        while api.get(f"{url}/threads/{thread_name(number)}").status_code != 200:
            assert command.poll() is None
        assert command.poll() is None


def started(url: str, file: str) -> "subprocess.Popen[str]":
    """Give the command as a program of its own, which can be killed."""
    command = [sys.executable, "-m", "ops", "import", file, "--url", url.removesuffix("/v1")]
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env = inherited | {"API_KEY": API_KEY}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_import_that_was_killed_on_either_side_is_finished_by_giving_it_again(
    tmp_path: Path, stand_in_url: str
) -> None:
    file = many(tmp_path / "many.jsonl")
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "MODEL_URL": stand_in_url}
    with api_process(tmp_path / "log", env) as (url, server):
        first = started(url, file)
        wait_for_thread(url, 20, first)
        stop(first, signal.SIGKILL)
        first.communicate()
        kept = exported(url).splitlines()
        second = started(url, file)
        wait_for_thread(url, len(kept) // 51 + 20, second)
        stop(server, signal.SIGKILL)
        _, told = second.communicate(timeout=WITHIN_S)
        assert (second.returncode, "give the same command again" in told) == (1, True)
    with api_process(tmp_path / "log", env) as (url, _):
        found = exported(url).splitlines()
        assert found[: len(kept)] == kept
        assert len(kept) < len(found) < MANY
        done = ops(url, "import", file, "--json")
        summary = json.loads(done.stdout.splitlines()[-1])["summary"]
        assert (done.returncode, sum(summary["skipped"].values())) == (0, len(found) - 1)
        lines = exported(url).splitlines()[1:]
    expected = [json.loads(line)["id"] for line in Path(file).read_text().splitlines()]
    assert [json.loads(line)["id"] for line in lines] == expected
