"""Copies in S3-compatible storage, spoken to over HTTP as to any other."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.backup.archive import OBJECTS
from ops.backup.copy_keeper import CopyKeeper
from ops.backup.failures import BackupFailed
from ops.backup.metrics import Metrics
from ops.backup.opening import Parts
from ops.backup.planning import choose
from ops.backup.settings import load_backup_settings
from tests.fixtures.backups import change, make_state, messages_in, messages_of, ops, parts_for, snapshotter
from tests.fixtures.buckets import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """Give a running server of buckets."""
    server = Storage(tmp_path / "moto.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Give a database with some conversations."""
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=20)
    return path


def env_of(storage: Storage, folder: Path) -> dict[str, str]:
    (folder / "id").write_text("test-id\n")
    (folder / "secret").write_text("test-secret\n")
    return {
        "BACKUP_BUCKET_URL": f"http://127.0.0.1:{storage.port}/backups/desk",
        "BACKUP_BUCKET_ACCESS_KEY_FILE": str(folder / "id"),
        "BACKUP_BUCKET_SECRET_KEY_FILE": str(folder / "secret"),
    }


@pytest.fixture
def parts(state: Path, storage: Storage, tmp_path: Path) -> Parts:
    """Give parts with a copy in the bucket; its credentials are files."""
    return parts_for(state, tmp_path / "backups", **env_of(storage, tmp_path))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sovereign_backup_{name}", labels)


def test_snapshots_go_into_the_bucket_and_come_back_from_it_alone(
    state: Path, parts: Parts, storage: Storage, tmp_path: Path
) -> None:
    taker, metrics = snapshotter(parts), Metrics()
    [bucket] = parts.copies
    keeper = CopyKeeper(parts, bucket, metrics)
    for number in range(3):
        change(state, f"thread_new{number}")
        taker.take()
        keeper.turn()
        assert value(metrics, "copy_behind", copy="bucket") == 0
    assert bucket.ids() == parts.local.ids()
    assert sorted(bucket.place.names(OBJECTS)) == sorted(parts.local.place.names(OBJECTS))
    assert messages_of(bucket, bucket.ids()[0], tmp_path) < messages_in(state)
    env = env_of(storage, tmp_path) | {"DATABASE_URL": f"sqlite:///{tmp_path}/new/db", "BACKUP_DIR": f"{tmp_path}/none"}
    done = ops("restore", "--yes", env=env)
    assert done.returncode == 0, done.stderr
    assert messages_in(tmp_path / "new" / "db") == messages_in(state)


def test_a_bucket_that_is_away_is_counted_and_filled_again_when_it_is_back_empty(
    state: Path, parts: Parts, storage: Storage
) -> None:
    metrics = Metrics()
    keeper = CopyKeeper(parts, parts.copies[0], metrics)
    snapshotter(parts).take()
    keeper.turn()
    storage.stop()
    change(state, "thread_new")
    snapshotter(parts).take()
    keeper.turn()
    assert value(metrics, "failures_total", cause="copy_unreachable") == 1
    assert len(parts.local.ids()) == 2
    storage.start()
    keeper.turn()
    assert parts.copies[0].ids() == parts.local.ids()
    assert value(metrics, "copy_behind", copy="bucket") == 0


def test_files_are_missed_and_removed_in_the_bucket_as_they_are_here(parts: Parts) -> None:
    snapshotter(parts).take()
    [bucket] = parts.copies
    CopyKeeper(parts, bucket, Metrics()).turn()
    name = next(bucket.place.names(OBJECTS))[0]
    bucket.place.delete([name, name])
    with pytest.raises(KeyError):
        bucket.place.get(name)
    with pytest.raises(BackupFailed, match="missing from bucket"):
        bucket.check_stored(bucket.manifest(bucket.ids()[0]))


class Refusing(BaseHTTPRequestHandler):
    """Storage that answers everything with one status."""

    status = 403

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "refuses these credentials"), (401, "refuses these credentials"), (404, "there is no such bucket")],
)
def test_what_keeps_a_bucket_from_being_used_is_said_with_its_address(
    state: Path, tmp_path: Path, status: int, words: str
) -> None:
    handler = type("Handler", (Refusing,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/backups"
            keys = {"BACKUP_BUCKET_ACCESS_KEY": "the-id", "BACKUP_BUCKET_SECRET_KEY": "the-secret"}
            [bucket] = parts_for(state, tmp_path / "backups", BACKUP_BUCKET_URL=url, **keys).copies
            with pytest.raises(BackupFailed) as failed:
                bucket.ids()
        finally:
            server.shutdown()
            thread.join()
    assert failed.value.cause == "copy_unreachable"
    assert str(failed.value).startswith(f"{url}: ")
    assert words in str(failed.value)
    assert "the-" not in str(failed.value)


def test_while_all_that_was_found_is_empty_and_the_bucket_is_away_nothing_is_restored(
    tmp_path: Path, storage: Storage
) -> None:
    path = tmp_path / "data" / "sovereign_assistant.db"
    make_state(path, threads=0)
    parts = parts_for(path, tmp_path / "backups", **env_of(storage, tmp_path))
    [empty] = [snapshotter(parts).take()]
    assert empty is not None
    assert choose(parts, None, None).manifest.id == empty.manifest.id
    storage.stop()
    with pytest.raises(BackupFailed, match="holds nothing, and not every place answers: bucket: "):
        choose(parts, None, None)
    assert choose(parts, empty.manifest.id, None).manifest.id == empty.manifest.id


def test_a_bucket_without_credentials_or_a_name_is_refused_in_one_go() -> None:
    with pytest.raises(Exception, match="expected https") as refused:
        load_backup_settings({"BACKUP_BUCKET_URL": "ftp://example/x", "BACKUP_RECIPIENTS": "bob"})
    assert str(refused.value).count("\n") == 2
