"""The bad days of docs/recover.md that leave volumes and secrets alone, walked with the commands that stand there.

The others, which take a disk, a host or a secret along, are walked in tests/containers/test_appliance_recovers.py.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from openai import OpenAI

from tests.fixtures.backups import change, make_state, threads_in
from tests.fixtures.documents import blocks, filled, with_commands
from tests.fixtures.processes import ROOT, free_port, running, wait_for
from tests.fixtures.servers import API_KEY

# The SDK says so of the API that we serve.
pytestmark = pytest.mark.filterwarnings(r"ignore:(deprecated$|The Assistants API is):DeprecationWarning")

RECOVER = "docs/recover.md"
HERE = {"A thread deleted by mistake", "Back in time", "A damaged file", "A bad upgrade"}
IN_CONTAINERS = {"A dead disk", "A dead host", "With `age` and `zstd` alone"}
IN_BOTH = {"A lost key"}
WITHIN_S = 60
NO_CONTAINERS = 'just() { [ "$1" = up ] || command just "$@"; }\n'
"""`just up` has nothing to start here."""


class Desk:
    """An operator's folder without containers, with the API that is run from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "data" / "sovereign_assistant.db"
        self.port = free_port()
        self.env = {
            "PATH": f"{with_commands(folder)}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"sqlite:///{self.database}",
            "API_KEY_FILE": "secrets/api_key",
            "KEY_PEPPER_FILE": "secrets/key_pepper",
            "API_PORT": str(self.port),
            "BACKUP_DIR": str(folder / "backups"),
        }
        (folder / "secrets").mkdir()
        (folder / "secrets/api_key").write_text(API_KEY)
        (folder / "secrets/key_pepper").write_text("p" * 40)

    def sh(self, script: str, **env: str) -> str:
        """Run a script as it would be typed; it has to end well. Return what it prints."""
        done = subprocess.run(
            ["bash", "-c", NO_CONTAINERS + script],
            cwd=self.folder,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[OpenAI]:
        """Run the API for a block; yield a client of it."""
        command = ["env", "--chdir", str(self.folder), sys.executable, "-m", "ops", "serve"]
        with running(command, self.env, self.folder / "api.log") as process:
            wait_for(f"http://127.0.0.1:{self.port}/health/live", process)
            yield client_of(self.port)

    def refuses_to_serve(self) -> str:
        """Start the API, which has to end by itself; return why."""
        done = subprocess.run(
            [sys.executable, "-m", "ops", "serve"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        return done.stderr


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Give an operator's folder."""
    return Desk(tmp_path)


def client_of(port: int) -> OpenAI:
    return OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=API_KEY, max_retries=0, timeout=30)


def said(client: OpenAI, *texts: str) -> str:
    """Begin a thread with some messages; return its id."""
    return client.beta.threads.create(messages=[{"role": "user", "content": text} for text in texts]).id


def now_and_wait_for_the_next_second() -> str:
    """Return this second as an operator writes it, in UTC; what happens next is after it."""
    moment = int(time.time()) + 1
    while time.time() < moment:
        time.sleep(0.01)
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def test_every_procedure_of_the_document_is_walked() -> None:
    text = (ROOT / RECOVER).read_text(encoding="utf-8")
    headings = set(re.findall(r"^## (.+)$", text, re.MULTILINE))
    assert headings == HERE | IN_CONTAINERS | IN_BOTH
    containers = (ROOT / "tests/containers/test_appliance_recovers.py").read_text(encoding="utf-8")
    assert all(f'blocks(RECOVER, "{heading}")' in containers for heading in IN_CONTAINERS | IN_BOTH)


def test_a_thread_deleted_by_mistake(desk: Desk) -> None:
    with desk.serving() as client:
        thread_id = said(client, "What moves the price of gold?", "And of silver?")
        desk.sh("just backup")
        moment = now_and_wait_for_the_next_second()
        client.beta.threads.delete(thread_id)
        since = said(client, "Said since then")
        look, bring = blocks(RECOVER, "A thread deleted by mistake")
        port = free_port()
        with in_another_terminal(desk, filled(look, {"2026-11-22T09:00": moment, "8011": str(port)}), port):
            client_of(port).beta.threads.retrieve(thread_id)
            desk.sh(filled(bring, {"thread_…": thread_id, "8011": str(port)}))
        assert len(client.beta.threads.messages.list(thread_id).data) == 2
        assert len(client.beta.threads.messages.list(since).data) == 1
        assert not (desk.folder / "look").exists()


@contextmanager
def in_another_terminal(desk: Desk, script: str, port: int) -> Iterator[None]:
    """Run a script that ends with a server, until the block is over."""
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=desk.folder,
        env=desk.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/health/live", process)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_back_in_time(desk: Desk) -> None:
    make_state(desk.database, threads=1)
    desk.sh("just backup")
    moment = now_and_wait_for_the_next_second()
    with closing(sqlite3.connect(desk.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("DELETE FROM threads")
    change(desk.database, "thread_since")
    desk.sh("just backup")
    [commands] = blocks(RECOVER, "Back in time")
    desk.sh(filled(commands, {"2026-11-22T09:00": moment}))
    assert threads_in(desk.database) == {"thread_000000"}
    [kept] = desk.database.parent.glob("*.before-*")
    assert threads_in(kept) == {"thread_since"}


def test_a_damaged_file(desk: Desk) -> None:
    make_state(desk.database, threads=1, messages=2)
    desk.sh("just backup")
    desk.database.write_bytes(b"this was a database once" * 1000)
    assert "not a database" in desk.refuses_to_serve()
    [commands] = blocks(RECOVER, "A damaged file")
    desk.sh(filled(commands, {}))
    with desk.serving() as client:
        assert len(client.beta.threads.messages.list("thread_000000").data) == 2
    [kept] = desk.database.parent.glob("*.before-*")
    assert kept.read_bytes().startswith(b"this was a database once")


def test_a_bad_upgrade(desk: Desk) -> None:
    make_state(desk.database, threads=1, messages=2)
    desk.sh("just backup")
    with closing(sqlite3.connect(desk.database, isolation_level=None)) as connection:  # what a newer release does
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("CREATE TABLE newer (id INTEGER PRIMARY KEY)")
    desk.sh("just backup")
    look, go_back = blocks(RECOVER, "A bad upgrade")
    listed = json.loads(desk.sh(filled(look, {})))["snapshots"]
    assert [one["schema_revision"] == "9999" for one in listed] == [True, False]
    assert "9999" in desk.refuses_to_serve()
    desk.sh(filled(go_back, {"restore ID": f"restore {listed[1]['id']}"}))
    with desk.serving() as client:
        assert len(client.beta.threads.messages.list("thread_000000").data) == 2


def test_a_lost_identity(desk: Desk) -> None:
    lost, new = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    make_state(desk.database, threads=1)
    desk.sh("just backup", BACKUP_RECIPIENTS=str(lost.to_public()))
    for_identity, *_ = blocks(RECOVER, "A lost key")
    desk.sh(filled(for_identity, {}), BACKUP_RECIPIENTS=str(new.to_public()))
    newest, older = (one["id"] for one in json.loads(desk.sh("just backups --json"))["snapshots"])
    desk.sh(f"just restore {newest} --dry-run", BACKUP_IDENTITY=str(new))
    desk.sh(f"just restore {older} --dry-run", BACKUP_IDENTITY=str(lost))
    with pytest.raises(AssertionError, match="the one in BACKUP_IDENTITY_FILE does not open it"):
        desk.sh(f"just restore {newest} --dry-run", BACKUP_IDENTITY=str(lost))
