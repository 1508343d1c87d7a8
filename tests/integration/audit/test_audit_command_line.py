"""`python -m ops audit`: the same from the API that runs and from the store that none has open. On both engines."""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result

from app.db.database import WriteTx
from app.db.opening import open_database
from app.settings import variables
from ops.__main__ import main
from ops.audit_source import stored_audit
from tests.fixtures.processes import ROOT, api_process, free_port
from tests.fixtures.servers import API_KEY
from tests.integration.audit.audited import add

RECORDS = 250  # several pages

Verb = Callable[..., Result]


def fill(tx: WriteTx) -> None:
    for number in range(RECORDS):
        add(tx, f"thread_{number}", "thread.create" if number else "thread.delete")


async def filled(url: str) -> None:
    database = await open_database(url)
    await database.write(fill)
    await database.close()


def verb(**env: str) -> Verb:
    """Return what runs `python -m ops audit` with only these settings."""
    unset = dict.fromkeys(name for one in variables() for name in (one.var.name, f"{one.var.name}_FILE"))

    def run(*arguments: str) -> Result:
        return CliRunner(env=unset | {"API_KEY": API_KEY, **env}).invoke(main, ["audit", *arguments])

    return run


@pytest.fixture
def stopped(database_url: str) -> Verb:
    """Give the verb over a filled store that no API has open, once for each engine."""
    asyncio.run(filled(database_url))
    return verb(DATABASE_URL=database_url, API_PORT=str(free_port()))


@pytest.fixture
def stopped_sqlite(sqlite_url: str) -> Verb:
    """Give the verb over a filled SQLite file that no API has open."""
    asyncio.run(filled(sqlite_url))
    return verb(DATABASE_URL=sqlite_url, API_PORT=str(free_port()))


@pytest.fixture(scope="module")
def live_env(stand_in_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the settings of an API that runs over a filled store, and holds its lock."""
    folder = tmp_path_factory.mktemp("live")
    url = f"sqlite:///{folder}/store.db"
    asyncio.run(filled(url))
    env = {"API_KEY": API_KEY, "DATABASE_URL": url, "MODEL_URL": stand_in_url}
    with api_process(folder / "log", env) as (address, _):
        yield env | {"API_PORT": address.split(":")[2].removesuffix("/v1")}


@pytest.fixture
def live(live_env: dict[str, str]) -> Verb:
    """Give the verb with an API that runs."""
    return verb(**live_env)


@pytest.fixture(params=["stopped", "live"])
def either(request: pytest.FixtureRequest) -> Verb:
    """Give the verb with an API that runs and with none."""
    found: Verb = request.getfixturevalue(request.param if request.param == "live" else "stopped_sqlite")
    return found


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def as_documented(exported: str) -> str:
    """Compute the hashes of an export again with the program that docs/audit.md shows."""
    shown = re.search(r"```python\n(.*?)```", (ROOT / "docs/audit.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    command = [sys.executable, "-c", shown[1]]
    return subprocess.run(command, input=exported, capture_output=True, text=True, check=True, timeout=30).stdout


def check_all(audit: Verb) -> None:
    """Export, verify and head agree with one another, and anyone can compute the hashes again."""
    exported = audit("export")
    assert [record["position"] for record in lines(exported)] == list(range(1, RECORDS + 1))
    newest = audit("head")
    assert newest.stdout == f"{RECORDS}:{as_documented(exported.stdout)}"
    verified = audit("verify", "--anchor", newest.stdout.strip())
    assert (verified.exit_code, verified.stdout) == (0, f"sound: {RECORDS} records, head {newest.stdout}")


def test_without_an_api_the_store_is_opened(stopped: Verb) -> None:
    check_all(stopped)


def test_with_an_api_it_is_asked(live: Verb) -> None:
    check_all(live)


def test_an_export_can_be_narrowed_by_time_and_project(either: Verb) -> None:
    moment = "2023-11-14T22:13:20"  # 1700000000
    assert len(lines(either("export", "--since", moment))) == RECORDS
    assert len(lines(either("export", "--since", "1700000000", "--project", "proj_1"))) == RECORDS
    assert len(lines(either("export", "--until", f"{moment}+01:00"))) == 0
    assert len(lines(either("export", "--until", "2023-11-15"))) == RECORDS
    assert len(lines(either("export", "--since", "2023-11-14T22:13:21Z"))) == 0
    assert len(lines(either("export", "--project", "proj_2"))) == 0


def test_verification_can_be_had_as_json(either: Verb) -> None:
    [found] = lines(either("verify", "--json"))
    assert (found["valid"], found["position"], found["has_more"], found["fault"]) == (True, RECORDS, False, None)


def test_an_anchor_of_another_chain_is_one_line_and_exit_status_1(either: Verb) -> None:
    for anchor, words in (
        (f"3:{'0' * 64}", "the chain was rewritten: position 3 does not have the anchor's hash"),
        (f"999:{'0' * 64}", f"the chain was cut off: the record at position {RECORDS + 1} is missing"),
    ):
        result = either("verify", "--anchor", anchor)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error: {words}")
        assert result.stderr.count("\n") == 1


def test_what_was_acknowledged_before_a_kill_is_recorded_and_sealed_by_whoever_comes_next(
    stand_in_url: str, tmp_path: Path
) -> None:
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db", "MODEL_URL": stand_in_url}
    made = []
    with api_process(tmp_path / "log", env) as (url, process):
        headers = {"Authorization": f"Bearer {API_KEY}"}
        for _ in range(20):
            answer = httpx2.post(f"{url}/assistants", json={"model": "any"}, headers=headers)
            made.append(answer.json()["id"])
        process.kill()  # nearly always with records that are not yet sealed
        process.wait()
    audit = verb(**env, API_PORT=str(free_port()))
    recorded = [(record["action"], record["object_id"]) for record in lines(audit("export"))]
    assert recorded == [("assistant.create", one) for one in made]
    assert audit("verify").stdout.startswith("sound: 20 records")


def test_tampering_is_one_line_that_names_the_place_and_exit_status_1(stopped_sqlite: Verb, tmp_path: Path) -> None:
    stopped_sqlite("head")
    with sqlite3.connect(tmp_path / "sovereign_assistant.db") as file:
        file.execute("UPDATE audit SET object_id = 'thread_forged' WHERE position = 123")
    file.close()
    result = stopped_sqlite("verify")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the record at position 123 was changed; the 122 records up to 122:")
    shown = stopped_sqlite("verify", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["fault"] == {"position": 123, "reason": "changed"}


def test_an_empty_audit_is_sound_and_its_head_is_an_anchor(sqlite_url: str) -> None:
    with stored_audit(sqlite_url):
        pass
    audit = verb(DATABASE_URL=sqlite_url, API_PORT=str(free_port()))
    assert audit("head").stdout == f"0:{'0' * 64}\n"
    assert audit("export").stdout == ""
    assert audit("verify", "--anchor", f"0:{'0' * 64}").stdout.startswith("sound: 0 records")


@pytest.mark.parametrize("arguments", [("verify", "--anchor", "17"), ("export", "--since", "noon"), ("sing",)])
def test_a_command_line_that_cannot_be_understood_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    assert verb()(*arguments).exit_code == 2


def test_a_wrong_key_is_said_in_one_line(live_env: dict[str, str]) -> None:
    result = verb(**live_env | {"API_KEY": "sk-of-somebody-else"})("head")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: Incorrect API key provided: sk-***else.\n"


def test_no_store_is_made_where_there_is_none_and_no_other_is_read_than_was_asked_for(
    stopped_sqlite: Verb, tmp_path: Path
) -> None:
    port = free_port()
    missing = verb(DATABASE_URL=f"sqlite:///{tmp_path}/missing.db", API_PORT=str(port))("head")
    there = f"no API answers at http://127.0.0.1:{port}"
    assert missing.exit_code == 1
    assert missing.stderr == f"error: {there}, and there is no database {tmp_path}/missing.db\n"
    assert not (tmp_path / "missing.db").exists()
    named = stopped_sqlite("head", "--url", f"http://127.0.0.1:{port}/")
    assert (named.exit_code, named.stderr) == (1, f"error: {there}\n")


def test_a_store_that_another_process_has_is_said_in_one_line(sqlite_url: str) -> None:
    with stored_audit(sqlite_url):
        result = verb(DATABASE_URL=sqlite_url, API_PORT=str(free_port()))("verify")
    assert result.exit_code == 1
    assert "is in use by another process" in result.stderr
