"""A restore from beginning to end: the API is stopped and started around it, held to answering, or all of it undone."""

import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from ops.appliance.waiting import state_of
from ops.backup.failures import BackupFailed
from ops.backup.restoring import Progress

GATE_S = 90.0
HOOK_S = 300.0
PAUSE_S = 0.2
Say = Callable[[str], None]


class Files(Protocol):
    """The files of a restore, here or in a container that has them. Every method raises BackupFailed."""

    def progress(self) -> Progress | None:
        """Return how far it is."""
        ...

    def swap(self) -> Progress:
        """Put what is staged in the place of the state."""
        ...

    def undo(self) -> None:
        """Put the state of before back."""
        ...

    def finish(self) -> None:
        """Forget the restore."""
        ...


class Server(Protocol):
    """The API that uses the files."""

    def stop(self) -> None:
        """Return when it stands still. Raises BackupFailed."""
        ...

    def start(self) -> None:
        """Start it. Raises BackupFailed."""
        ...

    def answers(self) -> bool:
        """Wait a while until it says that it reads its database; tell whether it did."""
        ...


def carry_on(files: Files, server: Server, say: Say) -> str | None:
    """Do what is left of a restore that is staged; return where the state of before is. Raises BackupFailed.

    When that says that the API did not answer, the state of before is in its place and the API was started on it.
    """
    progress = files.progress()
    if progress is None:
        raise BackupFailed("other", "nothing is staged")
    if progress.step in ("staged", "swapping"):
        say("stop the API")
        server.stop()
        progress = files.swap()
        say(f"snapshot {progress.snapshot} is in place")
    if progress.step == "swapped":
        say("start the API and wait until it answers")
        if started(server, say):
            files.finish()
            return progress.safety
    say("put the state of before back")
    server.stop()
    files.undo()
    back = "the API did not answer on the snapshot: the state of before is back in its place"
    try:
        server.start()
    except BackupFailed as failure:
        raise BackupFailed("other", f"{back}; start the API on it: {failure}") from None
    raise BackupFailed("other", back)


def started(server: Server, say: Say) -> bool:
    """Start the API and tell whether it answers."""
    try:
        server.start()
    except BackupFailed as failure:
        say(str(failure))
        return False
    return server.answers()


class NoServer:
    """Nobody to stop or start: the lock beside the state says whether a server uses it."""

    def stop(self) -> None:
        """Leave it to the lock."""

    def start(self) -> None:
        """Leave it to the operator."""

    def answers(self) -> bool:
        """Ask nobody."""
        return True


class Hooks:
    """An API that two commands of the operator's stop and start."""

    def __init__(self, stop: str, start: str, url: str, gate_s: float = GATE_S) -> None:
        self._stop = stop
        self._start = start
        self._url = url
        self._gate_s = gate_s

    def stop(self) -> None:
        """Run the command that stops it."""
        run_hook(self._stop)

    def start(self) -> None:
        """Run the command that starts it."""
        run_hook(self._start)

    def answers(self) -> bool:
        """Ask until its database is said to be read; its model may still load."""
        deadline = time.monotonic() + self._gate_s
        while time.monotonic() < deadline:
            if state_of(self._url).database == "ok":
                return True
            time.sleep(PAUSE_S)
        return False


def run_hook(command: str) -> None:
    """Run a command of the operator's. Raises BackupFailed."""
    try:
        done = subprocess.run(shlex.split(command), stdin=subprocess.DEVNULL, timeout=HOOK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise BackupFailed("other", f"{command}: {type(failure).__name__}") from None
    if done.returncode:
        raise BackupFailed("other", f"{command} ended with status {done.returncode}")
