"""The servers of a measurement: a model stand-in and the API, each a process of its own, over a new SQLite file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from tests.fixtures.processes import api_process, stand_in

API_KEY = "sk-bench"
MODEL = "sovereign-standin"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Rig(Struct, frozen=True):
    """Where the two servers are, and the API's process."""

    api: str
    model: str
    pid: int
    database: Path

    def cpu_s(self) -> float:
        """Return the processor seconds that the API has used, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def memory_mb(self) -> float:
        """Return the API's resident memory in megabytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")


@contextmanager
def rig(*, token_ms: float = 0, **settings: str) -> Iterator[Rig]:
    """Start both servers, the API with further settings; the stand-in waits `token_ms` between tokens."""
    with tempfile.TemporaryDirectory(prefix="sovereign-bench-") as name:
        folder = Path(name)
        file = folder / "sovereign_assistant.db"
        env = {
            "API_KEY": API_KEY,
            "DATABASE_URL": f"sqlite:///{file}",
            "RUN_CONCURRENCY": "256",
            "LOG_LEVEL": "WARNING",
            **settings,
        }
        with (
            stand_in(folder / "standin.log", "--model", MODEL, "--token-ms", str(token_ms)) as model,
            api_process(folder / "api.log", {**env, "MODEL_URL": model}) as (api, process),
        ):
            yield Rig(api, model, process.pid, file)
