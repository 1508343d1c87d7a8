"""Backups of the composed appliance: verbs run in a container that has the volumes; the API by Docker Compose.

vLLM is left alone: to load its model again would take minutes. The age identity goes in by standard input, so that no
container sees the file that it is in, and it may be one that only its owner can read.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import click
import msgspec

from ops.appliance.docker import DONE_WITHIN_S, ROOT, DockerFailed, asked, compose_config, containers, told
from ops.appliance.waiting import address, wait_until_ready
from ops.backup.failures import BackupFailed
from ops.backup.restoring import Progress
from ops.backup.switching import GATE_S

COMPOSE = ("compose", "--progress", "quiet", "--profile", "*")
BESIDE = (*COMPOSE, "exec", "-T")
KEEPER = (*COMPOSE, "run", "--rm", "--no-deps", "-T", "--entrypoint", "python")
WHERE_IT_IS_READ = "/dev/stdin"


def is_composed() -> bool:
    """Tell whether the appliance is here and no other state is meant. Raises BackupFailed when it is down."""
    if os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE") or shutil.which("docker") is None:
        return False
    try:
        if containers():
            return True
        label = f"label=com.docker.compose.project={compose_config()['name']}"
        left = asked("volume", "ls", "--quiet", "--filter", label, "--filter", "label=com.docker.compose.volume=state")
    except DockerFailed:
        return False
    if left.strip():
        words = "the appliance is down: `just up --wait-s 0` first; or say with DATABASE_URL which other state is meant"
        raise BackupFailed("other", words)
    return False


def in_sidecar(*words: str) -> None:
    """Run a verb where snapshots are taken, or, while that does not run, as the keeper. Raises BackupFailed."""
    try:
        runs = any(one["Service"] == "backup" and one["State"] == "running" for one in containers())
    except DockerFailed as failure:
        raise BackupFailed("other", str(failure)) from None
    if runs:
        _tell(*BESIDE, *_key(), "backup", "python", "-m", "ops", *words, given=_identity() or "")
    else:
        in_keeper(*words)


def in_keeper(*words: str) -> None:
    """Run a verb where both volumes are, its output on the terminal. Raises BackupFailed."""
    _tell(*KEEPER, *_key(), "state-keeper", "-m", "ops", *words, given=_identity() or "")


def asked_of_keeper(*words: str) -> str:
    """Run a verb there and return what it prints. Raises BackupFailed."""
    command = (*KEEPER, *_key(), "state-keeper", "-m", "ops", *words)
    try:
        return asked(*command, given=_identity() or "", within_s=DONE_WITHIN_S)
    except DockerFailed as failure:
        raise BackupFailed("other", str(failure).removeprefix("error: ")) from None


def poured(target: Path, *words: str) -> None:
    """Run a verb there and put what it prints into a file here. Raises BackupFailed; then there is no file."""
    command = ["docker", *KEEPER, *_key(), "state-keeper", "-m", "ops", *words]
    given = (_identity() or "").encode()
    try:
        with target.open("xb") as file:
            target.chmod(0o600)
            done = subprocess.run(command, cwd=ROOT, input=given, stdout=file, timeout=DONE_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        target.unlink(missing_ok=True)
        raise BackupFailed("other", f"{target}: {type(failure).__name__}") from None
    if done.returncode:
        target.unlink()
        raise BackupFailed("other", "the snapshot could not be read; the lines above say why")


@cache
def _identity() -> str | None:
    """Read the age identity, if a file of it is named; once, for it may be a pipe. Raises BackupFailed."""
    file = os.environ.get("BACKUP_IDENTITY_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        reason = getattr(failure, "strerror", None) or "it is no text"
        raise BackupFailed("no_key", f"BACKUP_IDENTITY_FILE {file} cannot be read: {reason}") from None


def _key() -> tuple[str, ...]:
    return () if _identity() is None else ("--env", f"BACKUP_IDENTITY_FILE={WHERE_IT_IS_READ}")


class ComposedFiles:
    """The files of a restore, in their volumes. What a container said last is not asked again: each takes seconds."""

    def __init__(self) -> None:
        self._last: Progress | None = None

    def progress(self) -> Progress | None:
        """Ask how far it is."""
        return self._last or self._ask("progress")

    def stage(self, *which: str) -> None:
        """Fetch, check and migrate a snapshot beside the state."""
        self._last = self._ask("stage", *which)

    def swap(self) -> Progress:
        """Put what is staged in the place of the state."""
        self._last = self._ask("swap")
        assert self._last is not None
        return self._last

    def undo(self) -> None:
        """Put the state of before back."""
        in_keeper("restore", "--phase", "undo")

    def finish(self) -> None:
        """Forget the restore."""
        in_keeper("restore", "--phase", "finish")

    def _ask(self, phase: str, *which: str) -> Progress | None:
        told = asked_of_keeper("restore", *which, "--phase", phase)
        return msgspec.json.decode(told, type=Progress | None)


class ComposedServer:
    """The API of the appliance."""

    def stop(self) -> None:
        """Stop it and nothing else."""
        _tell("compose", "stop", "api")

    def start(self) -> None:
        """Start it again."""
        _tell("compose", "start", "api")

    def answers(self) -> bool:
        """Wait until it says that it reads its database; its model may still load."""
        try:
            wait_until_ready(address(compose_config()), GATE_S, database_alone=True)
        except DockerFailed as failure:
            click.echo(str(failure), err=True)
            return False
        return True


def _tell(*words: str, given: str | None = None) -> None:
    try:
        told(*words, given=given)
    except DockerFailed as failure:
        said = str(failure) if given is None else "that went wrong in the appliance; the lines above say why"
        raise BackupFailed("other", said) from None
