"""A program under test: started in a session of its own, waited for, stopped within a bound, killed whole.

Knows nothing of vLLM or of the API; `engine.py` and `api.py` do.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
# What a program needs of its surroundings. The rest of the developer's environment (MODEL_NAME, VLLM_…,
# PYTHONPATH …) would change what is tested.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


class NotStarted(Exception):
    """The program ended, or was not ready in time; carries the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str, timeout_s: float = 5.0) -> tuple[int, str]:
    """GET without a client library: no proxy settings, no pool, no retries."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Server:
    """One running program that listens on a port and answers 200 on its health path when ready."""

    def __init__(self, name: str, command: Sequence[str | Path], port: int, health: str, log: Path) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.port = port
        self.health = health
        self.log = log
        self.started_in_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self, environment: Mapping[str, str], cwd: Path, within_s: float) -> None:
        """Start it and wait until it is ready, at most `within_s`."""
        began = time.monotonic()
        surroundings = {name: os.environ[name] for name in KEPT if name in os.environ}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=cwd,
                env=surroundings | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: its children can be ended with it
            )
        try:
            self._wait_until_ready(began + within_s)
        except BaseException:
            self.kill()
            raise
        self.started_in_s = time.monotonic() - began

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if not self.is_running():
                raise NotStarted(f"{self.name} ended while starting.\n{self.last_words()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if get(self.port, self.health, timeout_s=2.0)[0] == 200:
                    return
            time.sleep(0.1)
        raise NotStarted(f"{self.name} was not ready in time.\n{self.last_words()}")

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def last_words(self, characters: int = 4000) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else "(no log)"
        return f"The end of {self.log}:\n{text[-characters:]}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal as an init system would: to the program, not to its children."""
        if self._process is not None:
            self._process.send_signal(number)

    def children(self, name: str) -> list[int]:
        """The ids of its child processes that go by this name. Linux only, as vLLM is."""
        assert self._process is not None, f"{self.name} was never started"
        lists = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        ids = [int(word) for listed in lists for word in listed.read_text().split()]
        return [number for number in ids if Path(f"/proc/{number}/cmdline").read_bytes().startswith(name.encode())]

    def wait(self, within_s: float) -> int:
        """Wait for its end; `subprocess.TimeoutExpired` if it does not come."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.wait(within_s)

    def stop(self, within_s: float) -> None:
        """SIGTERM, then SIGKILL for whatever of the group is left after `within_s`."""
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(within_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the whole group: killing only the parent would leave vLLM's EngineCore as an orphan."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._process = None


@contextlib.contextmanager
def stopped_after(server: Server, within_s: float) -> Iterator[None]:
    """Leave nothing behind, however the block ends."""
    try:
        yield
    finally:
        server.stop(within_s)
