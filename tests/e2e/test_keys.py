"""Keys as a desk meets them: the official SDK with a key of its own, `ops keys` beside a running API, a restart."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner

from app.settings import variables
from ops.__main__ import main
from ops.commands.dev import KEY_FILE
from tests.fixtures.forks import run
from tests.fixtures.processes import api_process
from tests.fixtures.servers import API_KEY, MODEL

TIMEOUT_S = 30
UNSET = dict.fromkeys(name for one in variables() for name in (one.var.name, f"{one.var.name}_FILE"))


def ops(url: str, *arguments: str, key: str = API_KEY) -> Any:
    """Give a command to a running API; return what it answered, or its exit status and what it said was wrong."""
    asked = [*arguments, "--json", "--url", url.removesuffix("/v1")]
    done = CliRunner(env=UNSET | {"API_KEY": key}).invoke(main, asked)
    return json.loads(done.stdout) if done.exit_code == 0 else (done.exit_code, done.stderr)


def client(url: str, key: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, **options)


def test_the_sdk_is_let_in_with_a_key_and_told_when_it_is_not(live_api: str) -> None:
    made = ops(live_api, "keys", "create", "desk", "--scope", "assistants")
    with client(live_api, made["key"]) as sdk:
        assistant = sdk.beta.assistants.create(model="gpt-4o")
        assert sdk.beta.assistants.retrieve(assistant.id).id == assistant.id
        ops(live_api, "keys", "update", made["id"], "--scope", "chat")
        with pytest.raises(openai.PermissionDeniedError) as denied:
            sdk.beta.assistants.list()
        assert (denied.value.status_code, denied.value.code) == (403, "missing_scope")
        assert "Missing scopes: assistants." in denied.value.message
        ops(live_api, "keys", "revoke", made["id"])
        with pytest.raises(openai.AuthenticationError) as refused:
            sdk.models.list()
        assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
        assert made["key"] not in refused.value.message


def test_a_rotated_key_goes_on_with_either_secret_and_then_with_the_new_one(live_api: str) -> None:
    made = ops(live_api, "keys", "create", "desk")
    rotated = ops(live_api, "keys", "rotate", made["id"])
    for key in (made["key"], rotated["key"]):
        with client(live_api, key) as sdk:
            sdk.models.list()
    again = ops(live_api, "keys", "rotate", made["id"], "--grace", "0")
    with client(live_api, rotated["key"]) as sdk, pytest.raises(openai.AuthenticationError):
        sdk.models.list()
    with client(live_api, again["key"]) as sdk:
        sdk.models.list()


def test_a_project_is_a_tenant_that_the_sdk_can_name(live_api: str) -> None:
    project = ops(live_api, "projects", "create", "rates")
    made = ops(live_api, "keys", "create", "desk", "--project", project["id"])
    with client(live_api, made["key"], project=project["id"]) as sdk:
        thread = sdk.beta.threads.create()
    with client(live_api, API_KEY, project=project["id"]) as sdk:
        assert sdk.beta.threads.retrieve(thread.id).id == thread.id
    with client(live_api, API_KEY) as sdk, pytest.raises(openai.NotFoundError):
        sdk.beta.threads.retrieve(thread.id)
    other = client(live_api, made["key"], project="proj_default")
    with other as sdk, pytest.raises(openai.AuthenticationError) as refused:
        sdk.beta.threads.retrieve(thread.id)
    assert refused.value.code == "mismatched_project"


def test_a_key_for_some_models_starts_runs_with_no_other(live_api: str) -> None:
    made = ops(live_api, "keys", "create", "desk", "--model", MODEL)
    with client(live_api, made["key"]) as sdk:
        assistant = sdk.beta.assistants.create(model="gpt-4o")
        thread = sdk.beta.threads.create(messages=[{"role": "user", "content": "hello"}])
        with pytest.raises(openai.PermissionDeniedError) as denied:
            sdk.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
        assert (denied.value.status_code, denied.value.code) == (403, "model_not_found")
        assert sdk.beta.threads.runs.list(thread.id).data == []
        run = sdk.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id, model=MODEL)
        assert (run.status, run.model) == ("completed", MODEL)


def test_the_sdk_waits_as_long_as_a_limit_says_and_goes_on_by_itself(live_api: str) -> None:
    made = ops(live_api, "keys", "create", "desk", "--limit", "requests_per_minute=120")
    with client(live_api, made["key"]) as impatient, pytest.raises(openai.RateLimitError) as limited:
        for _ in range(1000):
            impatient.models.list()
    assert limited.value.code == "rate_limit_exceeded"
    assert 0 < int(limited.value.response.headers["retry-after-ms"]) <= 500
    with openai.OpenAI(base_url=live_api, api_key=made["key"], max_retries=1) as patient:
        taken = (patient.models.with_raw_response.list().retries_taken for _ in range(1000))
        assert next(retries for retries in taken if retries) == 1


def test_a_command_without_the_right_to_administer_says_so(live_api: str) -> None:
    made = ops(live_api, "keys", "create", "desk")
    status, said = ops(live_api, "keys", "list", key=made["key"])
    assert status == 1
    assert said.startswith("error: You have insufficient permissions for this operation. Missing scopes: admin.")
    status, said = ops(live_api, "keys", "list", key="sk-wrong-key-of-somebody")
    assert (status, said) == (1, "error: Incorrect API key provided: sk-***body.\n")
    if not KEY_FILE.exists():  # else somebody runs `just dev` here, and its key is taken
        assert ops(live_api, "keys", "list", key="") == (
            1,
            "error: API_KEY is not set: the API wants a key with the scope admin\n",
        )


def test_keys_outlast_a_restart_and_can_be_made_while_the_server_is_stopped(stand_in_url: str, tmp_path: Path) -> None:
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db", "MODEL_URL": stand_in_url}
    with api_process(tmp_path / "log", env) as (url, _):
        kept, revoked = (ops(url, "keys", "create", name) for name in ("kept", "revoked"))
        ops(url, "keys", "revoke", revoked["id"])
        with client(url, kept["key"]) as sdk:
            sdk.models.list()
    stopped = env | {"API_PORT": url.rsplit(":", 1)[1].removesuffix("/v1")}
    late = json.loads(run(["keys", "create", "late", "--json"], stopped).stdout)
    with api_process(tmp_path / "log", env) as (url, _):
        for key in (kept["key"], late["key"]):
            with client(url, key) as sdk:
                sdk.models.list()
        with client(url, revoked["key"]) as sdk, pytest.raises(openai.AuthenticationError, match="was revoked"):
            sdk.models.list()
        assert ops(url, "keys", "show", kept["id"])["last_used_at"] is not None
    log = (tmp_path / "log").read_text()
    for made in (kept, revoked, late):
        assert made["key"] not in log
        assert made["key"][20:] not in log


def test_a_damaged_journal_keeps_the_server_from_starting_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "store.db.revocations").write_text("no line of a journal\n")
    env = {"API_KEY": API_KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db", "API_PORT": "1"}
    done = run(["serve"], env)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: line 1 of the revocation journal {tmp_path}/store.db.revocations is damaged")
