"""`python -m ops` as an operator meets it: what is wrong is said in lines, with an exit status, never a traceback."""

import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.db.migrations import head
from app.settings import load_settings, redacted, variables
from ops.__main__ import VERBS, main
from tests.fixtures.forks import run
from tests.fixtures.processes import ROOT, free_port

TIMEOUT_S = 30
SECRETS = {
    "API_KEY": "sk-first-secret",
    "MODEL_API_KEY": "sk-second-secret",
    "DATABASE_URL": "postgresql://sovereign:third-secret@db.example/store",
    "MODEL_URL": "http://someone:fourth-secret@models.example/v1",
}


def in_process(*arguments: str, **env: str) -> Result:
    """Run a verb that starts nothing, with only these settings."""
    unset = dict.fromkeys(name for one in variables() for name in (one.var.name, f"{one.var.name}_FILE"))
    return CliRunner(env=unset | env).invoke(main, arguments)


def program(verb: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb from its start, with only this environment."""
    command = [sys.executable, "-m", "ops", verb]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)


def ended(verb: str, **env: str) -> tuple[int, list[str]]:
    """Run a verb in a process of its own; return its status and what it said on standard error."""
    told = run([verb], env)
    assert "Traceback" not in told.stderr + told.stdout
    return told.returncode, told.stderr.splitlines()


@pytest.mark.parametrize("verb", ["serve", "migrate", "config"])
def test_bad_settings_are_a_line_each_and_exit_status_2(verb: str) -> None:
    result = in_process(verb, API_PORT="eighty", LOG_LEVEL="LOUD", CORS_ORIGINS="*", ENVIRONMENT="production")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: API_PORT: expected int, got 'eighty'",
        "error: LOG_LEVEL: expected DEBUG or INFO or WARNING or ERROR, got 'LOUD'",
        "error: API_KEY: required when ENVIRONMENT=production (or API_KEY_FILE)",
        "error: CORS_ORIGINS: '*' is not allowed when ENVIRONMENT=production; name the origins",
    ]


@pytest.mark.parametrize("verb", ["serve", "dev"])
def test_so_it_is_when_the_verb_runs_as_a_program(verb: str, tmp_path: Path) -> None:
    told = program(verb, RUN_CONCURRENCY="0", API_KEY_FILE=str(tmp_path / "missing"))
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.splitlines() == [
        f"error: API_KEY: cannot read API_KEY_FILE {tmp_path}/missing: No such file or directory",
        "error: RUN_CONCURRENCY: expected int >= 1, got '0'",
    ]


def newer(path: Path) -> str:
    """Leave a database of a newer release."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    database.close()
    return f"The database has schema revision 9999, which this release does not know (its newest is {head()}). Start"


def garbage(path: Path) -> str:
    """Leave a file that is no database."""
    path.write_text("no database at all, only letters\n" * 100)
    return f"cannot open the database {path}: file is not a database"


def folder(path: Path) -> str:
    """Leave a folder where the file should be."""
    path.mkdir()
    return f"cannot open the database {path}: unable to open database file"


@pytest.mark.parametrize("verb", ["serve", "migrate"])
@pytest.mark.parametrize("leave", [newer, garbage, folder])
def test_a_database_that_cannot_be_opened_is_one_line_and_exit_status_1(
    verb: str, leave: Callable[[Path], str], tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    line = leave(path)
    status, lines = ended(verb, DATABASE_URL=f"sqlite:///{path}", API_KEY="sk-x", API_PORT=str(free_port()))
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {line}")


def test_a_postgresql_server_that_is_not_there_is_one_line_and_exit_status_1() -> None:
    url = f"postgresql://sovereign:a-secret@127.0.0.1:{free_port()}/store"
    status, lines = ended("serve", DATABASE_URL=url, API_KEY="sk-x")
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: cannot open the database store on 127.0.0.1: ")
    assert "a-secret" not in lines[0]


def test_a_port_that_is_taken_is_exit_status_1_and_a_line_that_names_it(sqlite_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, lines = ended("serve", DATABASE_URL=sqlite_url, API_KEY="sk-x", API_PORT=str(port))
    assert status == 1
    assert any(str(port) in line for line in lines)


def test_migrate_tells_the_revision_that_it_reached(empty_sqlite_url: str) -> None:
    result = in_process("migrate", DATABASE_URL=empty_sqlite_url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"schema revision {head()}\n", "")


def test_config_shows_every_setting_and_no_secret() -> None:
    for arguments in (["config"], ["config", "--json"]):
        result = in_process(*arguments, **SECRETS)
        assert result.exit_code == 0
        assert "secret" not in result.output
        assert all(name in result.stdout for name in redacted(load_settings({})))


def test_config_shows_no_secret_that_came_from_a_file(tmp_path: Path) -> None:
    files = {}
    for name in ("API_KEY", "MODEL_API_KEY", "DATABASE_URL"):
        (tmp_path / name).write_text(SECRETS[name])
        files[f"{name}_FILE"] = str(tmp_path / name)
    result = in_process("config", **files)
    assert result.exit_code == 0
    assert "secret" not in result.output
    assert "API_KEY=***" in result.stdout.splitlines()


def test_what_config_shows_can_be_set() -> None:
    env = {"CORS_ORIGINS": "https://a.example,https://b.example", "MODEL_ALIASES": "gpt-4=llama,gpt-4o=llama"}
    env |= {"STREAM_PING_S": "0.5", "API_PORT": "9000", "MODEL_NAME": "llama"}
    lines = in_process("config", **env).stdout.splitlines()
    assert load_settings(dict(line.split("=", 1) for line in lines)) == load_settings(env)
    assert json.loads(in_process("config", "--json", **env).stdout)["API_PORT"] == 9000


def test_help_lists_every_verb_and_an_unknown_one_is_exit_status_2() -> None:
    listed = in_process("--help").stdout
    assert all(f"  {verb} " in listed for verb in VERBS)
    assert in_process("sing").exit_code == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = in_process(verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {verb}")
