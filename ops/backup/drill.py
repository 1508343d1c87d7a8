"""The drill: a snapshot restored into scratch, an API started on it, its readiness and a conversation read."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ops.appliance.docker import ROOT
from ops.backup.archive import Archive
from ops.backup.database_file import Conversation, newest_conversation
from ops.backup.failures import BackupFailed, on_disk
from ops.backup.fetch import fetch, prove
from ops.backup.manifest import Manifest

START_S = 120.0
STOP_S = 40.0
ASK_TIMEOUT_S = 30.0
PAUSE_S = 0.1
NOWHERE = "http://127.0.0.1:9/v1"
SERVE = """
import ctypes, runpy, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
sys.argv[1:] = ["serve"]
runpy.run_module("ops", run_name="__main__", alter_sys=True)
"""
"""`python -m ops serve` that ends with who started it: a sidecar that is killed leaves none on a copy of the state."""
_INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


def drill(archive: Archive, manifest: Manifest, scratch: Path) -> str:
    """Restore a snapshot and read it through an API; return what was read. Raises BackupFailed."""
    with on_disk(scratch):
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="drill-", dir=scratch))
    try:
        database = folder / "sovereign_assistant.db"
        fetch(archive, manifest, database)
        prove(database, manifest)
        return read_through_api(database)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drill_copy(archive: Archive, manifest: Manifest, copy: Path) -> str:
    """The same for what cannot be opened here: its stored files, and the copy that was sealed into them."""
    try:
        count = archive.check_stored(manifest)
        prove(copy, manifest)
        return f"{count} sealed files whole; {read_through_api(copy)}"
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)


def read_through_api(database: Path) -> str:
    """Start an API on a database that nobody needs any more, read-only; ask it, and stop it. Raises BackupFailed."""
    conversation = newest_conversation(database)
    key, port = secrets.token_urlsafe(32), _free_port()
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "API_KEY": key,
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
        "DATABASE_URL": f"sqlite:///{database.resolve()}",
        "KEY_PEPPER": secrets.token_urlsafe(48),
        "MODEL_URL": NOWHERE,
        "READ_ONLY": "true",
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as api:
        try:
            _wait_until_ready(api, port)
            return _read(port, key, conversation)
        finally:
            api.terminate()
            try:
                api.wait(STOP_S)
            except subprocess.TimeoutExpired:
                api.kill()


def _wait_until_ready(api: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the API says that it reads its database. There is no model behind it, and none is missed."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if api.poll() is not None:
            raise BackupFailed("drill", f"no API starts on the snapshot (status {api.returncode})")
        try:
            if _asked(port, "/health/ready")["checks"]["database"] == "ok":
                return
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(PAUSE_S)
    raise BackupFailed("drill", f"an API on the snapshot is not ready after {START_S:.0f} s")


def _read(port: int, key: str, conversation: Conversation | None) -> str:
    if conversation is None:
        return "ready; there is no conversation yet"
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": conversation.project_id}
    try:
        page = _asked(port, f"/v1/threads/{conversation.thread_id}/messages?limit=20", headers)
        found = [message["id"] for message in page["data"]]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise BackupFailed("drill", f"a conversation cannot be read ({type(failure).__name__})") from None
    if conversation.message_id not in found:
        raise BackupFailed("drill", f"{conversation.thread_id} does not have its newest message")
    return f"ready; {len(found)} messages of {conversation.thread_id} read"


def _asked(port: int, path: str, headers: dict[str, str] | None = None) -> Any:
    """Ask the API; an answer that it is not ready for want of a model is an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ASK_TIMEOUT_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            if refused.code != 503:
                raise
            return json.loads(refused.read())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
