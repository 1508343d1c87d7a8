"""Starts `python -m ops dev` as a person in a terminal does: in a folder of its own, in a process group of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.processes import ROOT

START_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0
READY = "Ctrl-C stops all of it."
RULE = "-" * 78

GONE_WITHIN_S = 3.0


@dataclass
class Dev:
    """A running `ops dev`; everything it started is in its process group."""

    process: "subprocess.Popen[str]"
    log: Path

    def printed(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        """Wait for the last line of its announcement."""
        deadline = time.monotonic() + START_WITHIN_S
        while READY not in self.printed():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.02)

    def told(self, name: str) -> str:
        """Return what it announced under a name."""
        found = re.search(rf"^{name}: (\S+)$", self.printed(), re.MULTILINE)
        assert found, self.printed()
        return found[1]

    def snippet(self) -> str:
        """Return the program that it printed, as printed."""
        _, _, snippet, _ = self.printed().split(f"{RULE}\n")
        return snippet

    def children(self) -> list[int]:
        """Return the ids of the processes that it started."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def press_ctrl_c(self) -> int:
        """Do what a terminal does: interrupt the whole group. Return the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_WITHIN_S)

    def terminate(self) -> int:
        """Do what a supervisor does: signal the one process it knows. Return the exit status."""
        self.process.terminate()
        return self.process.wait(STOP_WITHIN_S)

    def left_something_behind(self) -> bool:
        """Tell whether anything of the group goes on running; what is just ending gets a moment."""
        deadline = time.monotonic() + GONE_WITHIN_S
        while time.monotonic() < deadline:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.02)
        return True


@contextmanager
def dev(folder: Path, env: Mapping[str, str]) -> Iterator[Dev]:
    """Start it with this environment and nothing else; whatever is left at the end is killed."""
    log = folder / "printed"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops", "dev"],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(ROOT), **env},
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    running = Dev(process, log)
    try:
        yield running
    finally:
        if running.left_something_behind():
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
