"""A restore of the composed appliance: files in a container that has both volumes, the API by Docker Compose.

vLLM is left alone: to load its model again would take minutes.
"""

import os
import subprocess
from pathlib import Path

import msgspec

from ops.appliance.docker import DONE_WITHIN_S, ROOT, DockerFailed, asked, compose_config, told
from ops.appliance.waiting import address, wait_until_ready
from ops.backup.failures import BackupFailed
from ops.backup.restoring import Progress
from ops.backup.switching import GATE_S

KEEPER = (
    "compose",
    "--profile",
    "*",
    "run",
    "--rm",
    "--no-deps",
    "-T",
    "--entrypoint",
    "python",
    "--env",
    "BACKUP_DIR=/backups",
)
IDENTITY = "/run/backup-identity"


def in_keeper(*words: str) -> None:
    """Run a verb where both volumes are, its output on the terminal. Raises BackupFailed."""
    try:
        told(*KEEPER, *_identity(), "state-keeper", "-m", "ops", *words)
    except DockerFailed as failure:
        raise BackupFailed("other", str(failure)) from None


def asked_of_keeper(*words: str) -> str:
    """Run a verb there and return what it prints. Raises BackupFailed."""
    try:
        return asked(*KEEPER, *_identity(), "state-keeper", "-m", "ops", *words)
    except DockerFailed as failure:
        raise BackupFailed("other", str(failure)) from None


def poured(target: Path, *words: str) -> None:
    """Run a verb there and put what it prints into a file here. Raises BackupFailed; then there is no file."""
    command = ["docker", *KEEPER, *_identity(), "state-keeper", "-m", "ops", *words]
    try:
        with target.open("xb") as file:
            target.chmod(0o600)
            done = subprocess.run(command, cwd=ROOT, stdout=file, timeout=DONE_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise BackupFailed("other", f"docker: {type(failure).__name__}") from None
    if done.returncode:
        target.unlink()
        raise BackupFailed("other", "the snapshot could not be read; the lines above say why")


def _identity() -> tuple[str, ...]:
    """Lend the container the file of the age identity for as long as it runs, if one is named."""
    file = os.environ.get("BACKUP_IDENTITY_FILE")
    if not file:
        return ()
    return "--volume", f"{Path(file).resolve()}:{IDENTITY}:ro", "--env", f"BACKUP_IDENTITY_FILE={IDENTITY}"


class ComposedFiles:
    """The files of a restore, in their volumes."""

    def progress(self) -> Progress | None:
        """Ask how far it is."""
        return msgspec.json.decode(asked_of_keeper("restore", "--phase", "progress"), type=Progress | None)

    def swap(self) -> Progress:
        """Put what is staged in the place of the state."""
        in_keeper("restore", "--phase", "swap")
        progress = self.progress()
        assert progress is not None
        return progress

    def undo(self) -> None:
        """Put the state of before back."""
        in_keeper("restore", "--phase", "undo")

    def finish(self) -> None:
        """Forget the restore."""
        in_keeper("restore", "--phase", "finish")


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
        except DockerFailed:
            return False
        return True


def _tell(*words: str) -> None:
    try:
        told(*words)
    except DockerFailed as failure:
        raise BackupFailed("other", str(failure)) from None
