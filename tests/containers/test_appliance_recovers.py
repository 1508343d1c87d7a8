"""The bad days of docs/recover.md that take volumes or secrets along, walked with the commands that stand there.

Snapshots are encrypted, and copied to a folder of this machine and to S3-compatible storage, all of it set in `.env`.
"""

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openai import AuthenticationError, OpenAI

from tests.containers.appliance import MODEL, PROJECT, Appliance, docker
from tests.containers.conftest import Started, fetch_model
from tests.containers.test_appliance_outlives import conversation, remembered, wait_until_ready
from tests.fixtures.buckets import Storage
from tests.fixtures.documents import blocks, filled, with_commands

RECOVER = "docs/recover.md"
CONTAINERS_USER = 10001
COPIED_WITHIN_S = 30.0
PROGRAMS = ("age", "age-keygen", "zstd")


class Operator(NamedTuple):
    """Who sits in the appliance's folder, with the age identity in `key.txt` and copies in two places."""

    appliance: Appliance
    copies: Path
    bucket: str

    def sh(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a script as it would be typed; it has to end well."""
        done = self.appliance.run("bash", "-c", script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done

    def settle(self, **settings: str) -> None:
        """Put these settings of backups, no others, and the recipient of `key.txt` into `.env`."""
        file = self.appliance.folder / ".env"
        kept = [line for line in file.read_text().splitlines() if not line.startswith("BACKUP_")]
        (recipient,) = re.findall(r"age1\w+", (self.appliance.folder / "key.txt").read_text())
        settings |= {"BACKUP_RECIPIENTS": recipient, "BACKUP_EVERY": "1s"}
        made = [f"{name}={value}" for name, value in settings.items()]
        file.write_text("\n".join([*kept, *made]) + "\n")

    def copies_of(self, name: str) -> set[str]:
        """Tell which copies have a snapshot."""
        return {label for one in self.listed() if one["id"] == name for label in one["copies"]}

    def listed(self) -> list[dict[str, Any]]:
        """Return what `just backups` lists, newest first."""
        found: list[dict[str, Any]] = json.loads(self.sh("just backups --json").stdout)["snapshots"]
        return found


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """Give a server of buckets on this machine that containers reach."""
    server = Storage(tmp_path_factory.mktemp("storage") / "moto.log", "0.0.0.0")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def operator(started: Started, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Set all of it as an operator does; the shared appliance is as it was afterwards."""
    for program in PROGRAMS:
        assert shutil.which(program), f"`{program}` is not here: apt-get install age zstd"
    folder, path = started.appliance.folder, started.appliance.env["PATH"]
    started.appliance.env["PATH"] = f"{with_commands(folder)}:{path}"
    copies = tmp_path_factory.mktemp("copies")
    copies.chmod(0o755)  # as `mkdir` by root makes it
    for name in ("access", "secret"):
        (folder / f"secrets/bucket_{name}_key").write_text(f"test-{name}\n")
    subprocess.run(["age-keygen", "-o", folder / "key.txt"], check=True, capture_output=True)
    made = Operator(started.appliance, copies, f"http://{address_of_this_machine()}:{storage.port}/backups/desk")
    before = (folder / ".env").read_text()
    made.settle(**with_folder(made), **with_bucket(made))
    made.sh("just up")
    yield made
    (folder / ".env").write_text(before)
    made.sh("just up")
    started.appliance.env["PATH"] = path
    for name in ("bin", ".venv"):
        shutil.rmtree(folder / name)


def address_of_this_machine() -> str:
    """Return an address that containers reach it at, and that stays when the appliance's networks are made anew."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    return docker("network", "inspect", "bridge", "--format", form).strip()


def with_folder(operator: Operator) -> dict[str, str]:
    return {"BACKUP_COPY_DIR": str(operator.copies)}


def with_bucket(operator: Operator) -> dict[str, str]:
    return {
        "BACKUP_BUCKET_URL": operator.bucket,
        "BACKUP_BUCKET_ACCESS_KEY_FILE": "./secrets/bucket_access_key",
        "BACKUP_BUCKET_SECRET_KEY_FILE": "./secrets/bucket_secret_key",
    }


class Kept(NamedTuple):
    """A conversation, and the snapshot in both copies that has it."""

    thread_id: str
    said: list[str]
    snapshot: str


@pytest.fixture(scope="module")
def kept(operator: Operator) -> Kept:
    """Hold a conversation and wait until it is in both copies, which the containers' user may write now."""
    shutil.chown(operator.copies, CONTAINERS_USER, CONTAINERS_USER)
    thread_id = conversation(operator.appliance)
    operator.sh("just backup")
    name = str(operator.listed()[0]["id"])
    operator.appliance.wait(
        f"{name} in the copies", lambda: operator.copies_of(name) == {"directory", "bucket"}, COPIED_WITHIN_S
    )
    return Kept(thread_id, remembered(operator.appliance, thread_id), name)


def goes_on(appliance: Appliance, kept: Kept) -> None:
    """Hold the conversation to what was said in it, and to a next answer."""
    wait_until_ready(appliance)
    assert remembered(appliance, kept.thread_id) == kept.said
    with appliance.client() as client:
        client.beta.threads.messages.create(kept.thread_id, role="user", content="say exactly: and gold")
        assistant = client.beta.assistants.create(model=MODEL)
        run = client.beta.threads.runs.create_and_poll(thread_id=kept.thread_id, assistant_id=assistant.id)
        assert run.status == "completed"
    assert remembered(appliance, kept.thread_id)[2:] == kept.said


def lose(operator: Operator, *volumes: str) -> None:
    """Take volumes away, as a disk that dies does."""
    operator.appliance.compose("rm", "--stop", "--force", "api", "backup")
    docker("volume", "rm", *(f"{PROJECT}_{name}" for name in volumes))


def test_a_folder_of_copies_that_is_not_the_containers_users_is_said(operator: Operator) -> None:
    conversation(operator.appliance)
    operator.sh("just backup")
    denied = "what was tried last failed: /copy/objects: Permission denied for user 10001"
    operator.appliance.wait("denied", lambda: denied in operator.sh("just backups").stdout, COPIED_WITHIN_S)
    assert 'sovereign_backup_failures_total{cause="copy_unreachable"} 0.0' not in metrics_of(operator)


def metrics_of(operator: Operator) -> str:
    """Ask the sidecar, which only the networks of the appliance reach."""
    address = "http://127.0.0.1:9102/metrics"
    code = f"import urllib.request as web; print(web.urlopen({address!r}, timeout=9).read().decode())"
    return operator.appliance.inside("backup", code).stdout


def test_an_encrypted_snapshot_is_opened_by_the_programs_age_and_zstd_alone(
    operator: Operator, kept: Kept, tmp_path: Path
) -> None:
    docker("cp", f"{PROJECT}-backup-1:/backups", str(tmp_path / "fetched"))
    stored = b"".join(path.read_bytes() for path in (tmp_path / "fetched/objects").rglob("*") if path.is_file())
    assert stored.count(b"age-encryption.org/v1") > 1
    [by_hand] = blocks(RECOVER, "With `age` and `zstd` alone")
    key = str(operator.appliance.folder / "key.txt")
    places = {
        "/path/to/backups": str(tmp_path / "fetched"),
        "20261122T090000.000Z": kept.snapshot,
        "-i key.txt": f"-i {key}",
    }
    done = subprocess.run(
        ["bash", "-c", filled(by_hand, places)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    restored = tmp_path / "fetched/sovereign_assistant.db"
    found = hashlib.sha256(restored.read_bytes()).hexdigest()
    assert done.stdout.count(found) == 2, "what it is, and what the manifest says it is"
    with closing(sqlite3.connect(restored)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM messages WHERE thread_id = ?", (kept.thread_id,)).fetchone()
    assert count == 2


def test_a_snapshot_in_the_volume_is_brought_into_a_folder_of_the_host_to_look(operator: Operator, kept: Kept) -> None:
    operator.sh(f"BACKUP_IDENTITY_FILE=key.txt just restore {kept.snapshot} --to look")
    look = operator.appliance.folder / "look/sovereign_assistant.db"
    with closing(sqlite3.connect(look)) as connection:
        assert connection.execute("SELECT id FROM threads WHERE id = ?", (kept.thread_id,)).fetchone()
    assert look.stat().st_mode & 0o777 == 0o600


def test_a_dead_disk_with_state_and_backups_is_recovered_from_the_folder_of_copies(
    operator: Operator, kept: Kept
) -> None:
    operator.settle(**with_folder(operator))
    lose(operator, "state", "backups")
    [commands] = blocks(RECOVER, "A dead disk")
    told = operator.sh(f"export BACKUP_IDENTITY_FILE=key.txt\n{filled(commands, {})}")
    assert "from      directory, encrypted" in told.stdout
    goes_on(operator.appliance, kept)


def test_without_its_identity_an_encrypted_snapshot_is_refused_before_anything_is_touched(operator: Operator) -> None:
    before = operator.appliance.inspect("api")["State"]["StartedAt"]
    refused = operator.appliance.ops("restore", "--yes")
    assert refused.returncode == 1
    assert "give it in BACKUP_IDENTITY_FILE" in refused.stderr
    assert operator.appliance.inspect("api")["State"]["StartedAt"] == before


def test_a_lost_pepper_and_a_lost_administrators_key_are_replaced(operator: Operator) -> None:
    appliance = operator.appliance
    thread_id = conversation(appliance)
    made = json.loads(operator.sh("docker compose exec api python -m ops keys create desk --json").stdout)
    pepper, admin = appliance.secret("key_pepper"), appliance.key
    _, for_pepper, for_admin = blocks(RECOVER, "A lost key")
    told = operator.sh(filled(for_pepper, {"rotate ID": f"rotate {made['id']} --json"})).stdout
    assert appliance.secret("key_pepper") != pepper
    rotated = json.loads(told[told.rindex("\n{") :])
    with pytest.raises(AuthenticationError):
        as_desk(appliance, made["key"]).beta.threads.messages.list(thread_id)
    assert len(as_desk(appliance, rotated["key"]).beta.threads.messages.list(thread_id).data) == 2
    operator.sh(filled(for_admin, {}))
    assert appliance.key != admin
    assert len(remembered(appliance, thread_id)) == 2


def as_desk(appliance: Appliance, key: str) -> OpenAI:
    return OpenAI(base_url=appliance.url, api_key=key, max_retries=0, timeout=30)


def test_a_dead_host_is_recovered_from_the_bucket_before_there_are_weights(operator: Operator, kept: Kept) -> None:
    appliance = operator.appliance
    operator.settle(**with_bucket(operator))
    appliance.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
    [commands] = blocks(RECOVER, "A dead host")
    told = operator.sh(filled(commands, {}))
    assert "from      bucket, encrypted" in told.stdout
    assert "messages of thread_" in told.stdout, "the drill read one"
    assert remembered(appliance, kept.thread_id) == kept.said, "before there is a model"
    fetch_model(appliance)
    appliance.compose("restart", "vllm")  # by itself it would try again within a minute
    goes_on(appliance, kept)
