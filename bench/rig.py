"""The servers of a measurement: a model stand-in and the API, each a process of its own, over a new SQLite file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from tests.fixtures.processes import api_process, stand_in, started

API_KEY = "sk-bench"
MODEL = "sovereign-standin"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Rig(Struct, frozen=True):
    """Where the two servers are, the key that both take, what the model is called, and the API's process."""

    api: str
    model: str
    pid: int
    database: Path
    key: str = API_KEY
    served: str = MODEL

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
        options = ("--model", MODEL, "--token-ms", str(token_ms))
        with (
            stand_in(folder / "standin.log", *options, start=started) as model,
            rig_over(model, folder, **settings) as servers,
        ):
            yield servers


@contextmanager
def rig_over(model: str, folder: Path, *, key: str = API_KEY, served: str = MODEL, **settings: str) -> Iterator[Rig]:
    """Start the API before a model server that runs already, its files in a folder."""
    file = folder / "sovereign_assistant.db"
    env = {
        "API_KEY": key,
        "DATABASE_URL": f"sqlite:///{file}",
        "RUN_CONCURRENCY": "256",
        "LOG_LEVEL": "WARNING",
        "MODEL_URL": model,
        **settings,
    }
    with api_process(folder / "api.log", env, start=started) as (api, process):
        yield Rig(api, model, process.pid, file, key, served)
