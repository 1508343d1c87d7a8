"""The whole of it as an operator has it: sidecar, API, restore with the API stopped and started around it, drill."""

import json
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import OpenAI

from ops.commands.backup import Span
from tests.fixtures.backups import ops
from tests.fixtures.processes import api_process, free_port, running, wait_for
from tests.fixtures.servers import API_KEY, MODEL

WITHIN_S = 40.0
HOOK = """
import os, signal, subprocess, sys, time
from pathlib import Path
pid = Path(sys.argv[2])
if sys.argv[1] == "stop":
    os.kill(int(pid.read_text()), signal.SIGTERM)
    while Path(f"/proc/{pid.read_text()}/stat").exists():
        if Path(f"/proc/{pid.read_text()}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
else:
    with open(os.devnull, "r+b") as null:
        made = subprocess.Popen(
            [sys.executable, "-m", "ops", "serve"], stdin=null, stdout=null, stderr=null, start_new_session=True
        )
    pid.write_text(str(made.pid))
"""


@pytest.fixture
def env(tmp_path: Path, stand_in_url: str) -> dict[str, str]:
    """Give the environment of an appliance without containers."""
    (tmp_path / "copy").mkdir()
    return {
        "API_KEY": API_KEY,
        "DATABASE_URL": f"sqlite:///{tmp_path}/data/sovereign_assistant.db",
        "MODEL_URL": stand_in_url,
        "BACKUP_DIR": str(tmp_path / "backups"),
        "BACKUP_COPY_DIR": str(tmp_path / "copy"),
        "BACKUP_METRICS_PORT": str(free_port()),
    }


def metrics(port: str) -> dict[str, float]:
    """Ask the sidecar."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def wait_until(port: str, **least: float) -> dict[str, float]:
    """Wait until some metrics are at least so high."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        found = metrics(port)
        if all(found.get(f"sovereign_backup_{name}", 0.0) >= value for name, value in least.items()):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_a_conversation_goes_on_after_it_was_deleted_and_its_state_restored(
    env: dict[str, str], tmp_path: Path
) -> None:
    hook, pid, port = tmp_path / "hook.py", tmp_path / "pid", env["BACKUP_METRICS_PORT"]
    hook.write_text(HOOK)
    side = [sys.executable, "-m", "ops", "backup", "--every", "1"]
    with running(side, env, tmp_path / "side.log") as sidecar, api_process(tmp_path / "api.log", env) as (url, api):
        wait_for(f"http://127.0.0.1:{port}/health/live", sidecar)
        pid.write_text(str(api.pid))
        client = OpenAI(base_url=url, api_key=API_KEY)
        assistant = client.beta.assistants.create(model=MODEL)
        thread = client.beta.threads.create(messages=[{"role": "user", "content": "What moves the price of gold?"}])
        found = wait_until(port, last_verified_timestamp_seconds=time.time(), last_drill_timestamp_seconds=1.0)
        assert found['sovereign_backup_copy_last_success_timestamp_seconds{copy="directory"}'] > 0
        snapshot = json.loads(ops("backups", "--json", env=env).stdout)["snapshots"][0]["id"]
        client.beta.threads.delete(thread.id)
        commands = [f"{sys.executable} {hook} {verb} {pid}" for verb in ("stop", "start")]
        env_of_api = env | {"API_PORT": str(urlsplit(url).port)}
        done = ops("restore", snapshot, "--yes", "--stop", commands[0], "--start", commands[1], env=env_of_api)
        assert done.returncode == 0, done.stderr
        try:
            run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
            assert run.status == "completed"
            assert len(client.beta.threads.messages.list(thread.id).data) == 2
        finally:
            subprocess.run(shlex.split(commands[0]), check=True, timeout=60)
    drills = [one["drill"] for one in json.loads(ops("backups", "--json", env=env).stdout)["snapshots"]]
    assert any(drill is not None and drill["ok"] for drill in drills), drills


def test_a_span_of_time_is_read_as_people_write_it() -> None:
    assert [Span().convert(text, None, None) for text in ("60", "60s", "1m", "1h", 5)] == [60, 60, 60, 3600, 5]


def test_a_thread_that_was_deleted_by_mistake_is_brought_back_while_the_service_runs(
    env: dict[str, str], tmp_path: Path
) -> None:
    with api_process(tmp_path / "api.log", env) as (url, _):
        client = OpenAI(base_url=url, api_key=API_KEY)
        thread = client.beta.threads.create(messages=[{"role": "user", "content": "What moves the price of gold?"}])
        assert ops("backup", env=env).returncode == 0
        client.beta.threads.delete(thread.id)
        kept = client.beta.threads.create(messages=[{"role": "user", "content": "Said since then"}])
        assert ops("restore", "--to", str(tmp_path / "look"), env=env).returncode == 0
        copy = env | {"DATABASE_URL": f"sqlite:///{tmp_path}/look/sovereign_assistant.db", "READ_ONLY": "true"}
        lines = str(tmp_path / "thread.jsonl")
        with api_process(tmp_path / "copy.log", copy) as (copy_url, _):
            address = copy_url.removesuffix("/v1")
            taken_out = ops("export", "--thread", thread.id, "--url", address, "--output", lines, env=env)
            assert taken_out.returncode == 0, taken_out.stderr
        brought = ops("import", lines, "--url", url.removesuffix("/v1"), env=env)
        assert brought.returncode == 0, brought.stderr
        for one in (thread, kept):
            assert len(client.beta.threads.messages.list(one.id).data) == 1
