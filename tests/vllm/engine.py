"""A real `vllm serve` (CPU build) with the tiny Llama, on a free port."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.vllm import prepare
from tests.vllm.server import HOST, Server, free_port, get, stopped_after

MODEL = "tiny"
API_KEY = "sk-engine-of-the-tests"
CONTEXT_TOKENS = 2048
START_WITHIN_S = 120.0
STOP_WITHIN_S = 15.0

ENVIRONMENT = {
    # The default layout (EngineCore and Worker apart) spins on both of two cores and starves its own API
    # server; this keeps the worker inside EngineCore: half the processes, twice the throughput.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    # Else the first request for logprobs compiles for 15 s; --enforce-eager does not prevent that one.
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_HOST_IP": HOST,
    "VLLM_CACHE_ROOT": str(prepare.MODELS / "cache"),
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}

FLAGS = (
    ("--host", HOST),
    ("--served-model-name", MODEL),
    ("--max-model-len", str(CONTEXT_TOKENS)),
    ("--dtype", "bfloat16"),
    ("--enforce-eager",),
    # A size of its own also switches off the start-up check for 92 % of the machine's memory.
    ("--kv-cache-memory-bytes", str(128 * 1024 * 1024)),
    ("--enable-auto-tool-choice",),
    ("--tool-call-parser", "llama3_json"),
    # A tiny model never ends a JSON value by itself if it may write whitespace for ever.
    ("--structured-outputs-config", json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})),
    ("--api-key", API_KEY),
    ("--disable-uvicorn-access-log",),  # else it fills the end of the log that a failed test shows
    # The default of 0 leaves open streams hanging, neither fed nor closed.
    ("--shutdown-timeout", "10"),
)

# Two at work and two in its queue, then 503: vLLM's limit counts the running ones too.
SMALL_SEATS = 2
SMALL_LIMIT = 4
EMBEDDING = ("--runner", "pooling", "--convert", "embed")
SMALL = ("--max-num-seqs", str(SMALL_SEATS), "--max-num-queued-reqs", str(SMALL_LIMIT))


class Engine(Server):
    """The model server; `extra` are more flags of `vllm serve`."""

    key = API_KEY

    def __init__(self, log: Path, extra: tuple[str, ...] = ()) -> None:
        port = free_port()
        # -P: tests/vllm must not come first on sys.path, where its modules could hide installed ones.
        launcher = [str(prepare.VENV_PYTHON), "-P", str(prepare.HERE / "vllm_cli.py")]
        flags = [word for flag in FLAGS for word in flag]
        command: list[str | Path] = [
            *launcher,
            "serve",
            prepare.model_dir(),
            "--port",
            str(port),
            *flags,
            *extra,
        ]
        super().__init__("vLLM", command, port, "/health", log)

    @property
    def url(self) -> str:
        """The base URL of its OpenAI-wire routes."""
        return f"{self.address}/v1"

    def metric(self, name: str) -> float:
        """The present value of one metric, its series added up (`vllm:num_requests_running`)."""
        status, text = get(self.port, "/metrics")
        assert status == 200, f"/metrics answered {status}"
        series = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        assert series, f"vLLM has no metric {name}"
        return sum(map(float, series))

    def running(self) -> int:
        """How many requests it is generating for."""
        return int(self.metric("vllm:num_requests_running"))

    def waiting(self) -> int:
        """How many requests it has accepted and not begun."""
        return int(self.metric("vllm:num_requests_waiting"))

    def refused(self) -> int:
        """How many requests it has answered with 503 because its queue was full."""
        return int(self.metric("vllm:admission_rejections_total"))

    def begin(self) -> None:
        """Start it, a second time on the port that it had, and wait until it is ready."""
        self.start(ENVIRONMENT, prepare.ROOT, START_WITHIN_S)

    def kill_core(self) -> None:
        """SIGKILL the process that generates, as a kernel out of memory does; the server above it ends soon after."""
        (core,) = self.children("VLLM::EngineCore")
        os.kill(core, signal.SIGKILL)

    def wait_until_gone(self, within_s: float) -> None:
        """Wait until its server has ended, and leave none of its processes."""
        if self.is_running():
            self.wait(within_s)
        self.kill()

    def wait_until_idle(self, within_s: float) -> float:
        """Wait until nothing is being generated or waits for it; answers how long that took."""
        began = time.monotonic()
        while (busy := self.running() + self.waiting()) > 0:
            elapsed = time.monotonic() - began
            assert elapsed < within_s, f"vLLM still works on {busy} requests after {elapsed:.1f} s"
            time.sleep(0.05)
        return time.monotonic() - began


@contextlib.contextmanager
def running_engine(log: Path, extra: tuple[str, ...] = ()) -> Iterator[Engine]:
    engine = Engine(log, extra)
    with stopped_after(engine, STOP_WITHIN_S):
        engine.begin()
        yield engine
