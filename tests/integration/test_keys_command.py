"""`python -m ops keys` and `projects` with no API running: they open the file under its lock, and say what is wrong."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.db.sqlite import lock_file
from app.settings import variables
from ops.__main__ import main
from ops.keys.showing import KEY_COLUMNS, state_of, table_of
from tests.fixtures.processes import free_port

PORT = free_port()
UNSET = dict.fromkeys(name for one in variables() for name in (one.var.name, f"{one.var.name}_FILE"))


@pytest.fixture
def run(sqlite_url: str) -> Any:
    """Give `run("keys", "list")`: a command on this test's file, where no API listens."""

    def run_one(*arguments: str, **env: str) -> Result:
        given = {"DATABASE_URL": sqlite_url, "API_PORT": str(PORT), **env}
        return CliRunner(env=UNSET | given).invoke(main, arguments)

    return run_one


def answer(result: Result) -> Any:
    """Return what a command answered as JSON; it went well."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_keys_are_made_changed_rotated_and_revoked_on_the_file(run: Any) -> None:
    made = answer(run("keys", "create", "a desk", "--scope", "read", "--scope", "chat", "--model", "m", "--json"))
    assert (made["name"], made["scopes"], made["models"]) == ("a desk", ["chat", "read"], ["m"])
    changed = answer(
        run("keys", "update", made["id"], "--name", "x", "--all-models", "--limit", "concurrent_runs=2", "--json")
    )
    assert (changed["name"], changed["models"], changed["limits"]["concurrent_runs"]) == ("x", None, 2)
    assert changed["scopes"] == made["scopes"]
    rotated = answer(run("keys", "rotate", made["id"], "--grace", "2h", "--json"))
    assert rotated["key"] != made["key"]
    assert rotated["previous_until"] == rotated["rotated_at"] + 7200
    revoked = answer(run("keys", "revoke", made["id"], "--json"))
    assert revoked["revoked_at"] is not None
    assert answer(run("keys", "show", made["id"], "--json")) == revoked
    assert answer(run("keys", "list", "--json")) == [revoked]


def test_a_key_expires_in_as_long_as_it_is_said(run: Any) -> None:
    before = int(time.time())
    made = answer(run("keys", "create", "desk", "--expires-in", "30d", "--json"))
    assert before + 30 * 86_400 <= made["expires_at"] <= time.time() + 30 * 86_400
    assert answer(run("keys", "update", made["id"], "--never-expires", "--json"))["expires_at"] is None


def test_projects_are_made_changed_and_archived_on_the_file(run: Any) -> None:
    made = answer(run("projects", "create", "rates", "--limit", "tokens_per_day=1000", "--json"))
    changed = answer(run("projects", "update", made["id"], "--name", "fx", "--no-limits", "--json"))
    assert (changed["name"], changed["limits"]["tokens_per_day"]) == ("fx", None)
    key = answer(run("keys", "create", "desk", "--project", made["id"], "--json"))
    assert [one["id"] for one in answer(run("keys", "list", "--project", made["id"], "--json"))] == [key["id"]]
    archived = answer(run("projects", "archive", made["id"], "--json"))
    assert archived["archived_at"] is not None
    assert {one["id"] for one in answer(run("projects", "list", "--json"))} == {made["id"], "proj_default"}


def test_the_text_of_a_key_is_shown_to_whoever_makes_it_and_never_again(run: Any) -> None:
    made = run("keys", "create", "desk")
    assert "shown this once" in made.stderr
    [key] = [line.removeprefix("key: ") for line in made.stdout.splitlines() if line.startswith("key: ")]
    key_id = f"key_{key[7:19]}"
    for arguments in (("list",), ("show", key_id), ("list", "--json"), ("update", key_id, "--name", "x")):
        shown = run("keys", *arguments)
        assert shown.exit_code == 0
        assert key_id in shown.stdout
        assert key[20:] not in shown.output


def test_more_keys_than_a_page_are_all_listed(run: Any) -> None:
    ids = {answer(run("keys", "create", f"desk {number}", "--json"))["id"] for number in range(3)}
    lines = run("keys", "list").stdout.splitlines()
    assert {line.split()[0] for line in lines[1:]} == ids


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("keys", "show", "key_nowhere"), "No API key found with id 'key_nowhere'."),
        (("keys", "revoke", "key_nowhere"), "No API key found with id 'key_nowhere'."),
        (("keys", "create", "x", "--project", "proj_nowhere"), "No project found with id 'proj_nowhere'."),
        (("projects", "archive", "proj_default"), "The default project cannot be archived."),
        (("keys", "create", "x", "--expires-in", "0"), "Invalid 'expires_at': "),
        (("keys", "create", ""), "Invalid 'name': "),
        (("keys", "list", "--url", "http://127.0.0.1:9"), "no API answers at http://127.0.0.1:9"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line_and_exit_status_1(run: Any, arguments: tuple[str, ...], line: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    [said] = result.stderr.splitlines()
    assert said.startswith(f"error: {line}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", "x", "--scope", "everything"),
        ("keys", "create", "x", "--expires-in", "soon"),
        ("keys", "create", "x", "--limit", "requests=1"),
        ("keys", "create", "x", "--limit", "tokens_per_day=many"),
        ("keys", "create"),
        ("keys", "show", "../projects"),
        ("keys", "update", "key_1", "--model", "m", "--all-models"),
        ("keys", "update", "key_1", "--expires-in", "1d", "--never-expires"),
        ("projects", "update", "proj_1", "--limit", "tokens_per_day=1", "--no-limits"),
    ],
    ids=str,
)
def test_a_command_that_cannot_be_understood_is_exit_status_2(run: Any, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_a_file_that_another_process_has_is_one_line(run: Any, tmp_path: Path) -> None:
    with lock_file(tmp_path / "sovereign_assistant.db"):
        result = run("keys", "list")
    assert result.exit_code == 1
    [said] = result.stderr.splitlines()
    assert "no API answers at" in said
    assert "is in use by another process" in said


def test_without_an_api_nothing_is_made_where_no_database_is(tmp_path: Path) -> None:
    given = {"DATABASE_URL": f"sqlite:///{tmp_path}/none.db", "API_PORT": str(PORT)}
    result = CliRunner(env=UNSET | given).invoke(main, ["keys", "create", "x"])
    assert result.exit_code == 1
    assert "there is no database" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_an_api_a_postgresql_store_is_not_touched() -> None:
    given = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x", "API_PORT": str(PORT)}
    result = CliRunner(env=UNSET | given).invoke(main, ["keys", "list"])
    assert (result.exit_code, result.stderr) == (1, f"error: no API answers at http://127.0.0.1:{PORT}\n")


def test_bad_settings_are_exit_status_2(run: Any) -> None:
    result = run("keys", "list", KEY_PEPPER="short")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: KEY_PEPPER: ")
    assert "short" not in result.stderr


def test_a_table_says_what_became_of_each_key() -> None:
    row = {"id": "key_1", "name": "n", "project_id": "p", "scopes": ["chat"], "last_used_at": None}
    rows = [row, row | {"expires_at": 5}, row | {"revoked_at": 1, "expires_at": 9}, row | {"archived_at": 1}]
    assert [state_of(one, 5) for one in rows] == ["active", "expired", "revoked", "archived"]
    assert state_of(rows[1], 4) == "active"
    assert table_of([row], KEY_COLUMNS, 5) == [
        "id     name  project_id  scopes  state   last_used_at",
        "key_1  n     p           chat    active",
    ]
