"""What runs: the API on the model stand-in, its backup sidecar, replayed expositions, and Prometheus over all."""

import json
import math
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.fixtures.processes import ROOT, Program, forked, free_port, running, wait_for
from tests.observability.rules import FASTER, FOLDER, hurry

HERE = Path(__file__).parent
KEY = "sk-observed"
SCRAPE_S = 15 / FASTER
LOOKBACK_S = 300 / FASTER
GROWING = re.compile(r"(_total|_bucket|_count|_sum)$")
BUCKET = re.compile(r'\ble="([^"]+)"')
SAMPLE = re.compile(r"^([^\s{]+)(\{[^}]*\})? (\S+)$")
GROWTH_S = 10.0
"""Seconds in which a replayed counter grows by what was recorded."""


class Replay(ThreadingHTTPServer):
    """Tells a recorded exposition again: gauges as they were, counters growing.

    `says` is what it says otherwise; `at_least` holds, for histograms, what nothing that is observed now is below.
    """

    def __init__(self, *recorded: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says: dict[str, float] = {}
        self.at_least: Mapping[str, float] = {}
        self._grown: dict[str, float] = defaultdict(float)
        self.down = False
        self._lines = "\n".join(path.read_text() for path in recorded).splitlines()
        self._told = time.monotonic()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a scrape that was given up."""

    def exposition(self) -> str:
        """Return what it tells now."""
        before, self._told = self._told, time.monotonic()
        growth = (self._told - before) / GROWTH_S
        return "\n".join(self._line(line, growth) for line in self._lines) + "\n"

    def _line(self, line: str, growth: float) -> str:
        found = SAMPLE.match(line)
        if found is None or line.startswith("#"):
            return line
        name, labels, value = found[1], found[2] or "", float(found[3])
        if GROWING.search(name):
            if _bound(labels) >= self.at_least.get(name.removesuffix("_bucket"), 0):
                self._grown[line] += growth
            value *= self._grown[line]
        return f"{name}{labels} {self.says.get(name, value)}"


def _bound(labels: str) -> float:
    """Return the bound of a histogram's bucket."""
    found = BUCKET.search(labels)
    return math.inf if found is None else float(found[1])


class _Handler(BaseHTTPRequestHandler):
    server: Replay

    def do_GET(self) -> None:
        body = self.server.exposition().encode()
        self.send_response(503 if self.server.down else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each scrape."""


@contextmanager
def replaying(*recorded: Path) -> Iterator[Replay]:
    """Run a replay for a block."""
    server = Replay(*recorded)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Prometheus:
    """A running Prometheus, asked over its API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now. Raises HTTPError when it does not parse."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def firing(self) -> set[str]:
        """Return the alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def wait(self, until: Callable[[], bool], within_s: float) -> float:
        """Wait for something; return how long it took. Raises TimeoutError."""
        began = time.monotonic()
        while not until():
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"not within {within_s} s; firing: {sorted(self.firing())}")
            time.sleep(SCRAPE_S / 2)
        return time.monotonic() - began


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    """Run Prometheus with the product's configuration and rules, in a hurry, over other targets."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    port = free_port()
    targets = {**targets, "prometheus": f"127.0.0.1:{port}"}
    assert {job["job_name"] for job in config["scrape_configs"]} == set(targets)
    interval = f"{int(SCRAPE_S * 1000)}ms"
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (folder / "rules").mkdir()
    hurry(folder / "rules")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", f"--query.lookback-delta={LOOKBACK_S:.0f}s"]
    with running(command, {}, folder / "log") as process:
        wait_for(f"http://127.0.0.1:{port}/-/ready", process)
        yield Prometheus(f"http://127.0.0.1:{port}")


class Around(NamedTuple):
    """What a program is started by, and what it is started in beside its settings."""

    wrapper: Sequence[str] = ()
    env: Mapping[str, str] = {}


AS_USUAL: Mapping[str, Around] = {}


class Stack:
    """Everything together, and the means to trouble it."""

    def __init__(self, folder: Path, stack: ExitStack, around: Mapping[str, Around], vllm: str | None) -> None:
        """`around` is what is around programs, by their verbs; `vllm` where a real one tells its metrics, instead of
        the replayed one.
        """
        self.folder = folder
        self.database = folder / "state" / "store.db"
        self.vllm = stack.enter_context(replaying(HERE / "recorded" / "vllm.prom"))
        self.gpu = stack.enter_context(replaying(ROOT / "tests" / "containers" / "exposition" / "dcgm.prom"))
        self._stack = stack
        self._around = around
        self.model_port, self.api_port, self.metrics_port, self.backup_port = (free_port() for _ in range(4))
        self.model = self.run_model()
        self.api = self._run_api()
        self.backup = self._run_backup()
        self.prometheus = stack.enter_context(
            prometheus(
                _made(folder / "prometheus"),
                {
                    "api": f"127.0.0.1:{self.metrics_port}",
                    "vllm": vllm or f"127.0.0.1:{self.vllm.server_port}",
                    "gpu-exporter": f"127.0.0.1:{self.gpu.server_port}",
                    "backup": f"127.0.0.1:{self.backup_port}",
                },
            )
        )

    def _run(self, command: list[str], env: dict[str, str], ready: str) -> Program:
        log, around = self.folder / f"{command[0]}.log", self._around.get(command[0])
        if around is None:
            process: Program = self._stack.enter_context(forked(command, env, log))
        else:
            whole = [*around.wrapper, sys.executable, "-m", "ops", *command]
            process = self._stack.enter_context(running(whole, {**env, **around.env}, log))
        wait_for(ready, process)
        return process

    def run_model(self, token_ms: int = 5, first_token_ms: int = 0) -> Program:
        """Start the model stand-in."""
        options = ["--port", str(self.model_port), "--model", "llama"]
        options += ["--token-ms", str(token_ms), "--first-token-ms", str(first_token_ms)]
        return self._run(["standin", *options], {}, f"http://127.0.0.1:{self.model_port}/health")

    def _run_api(self) -> Program:
        env = {
            "API_KEY": KEY,
            "API_PORT": str(self.api_port),
            "METRICS_PORT": str(self.metrics_port),
            "DATABASE_URL": f"sqlite:///{self.database}",
            "MODEL_URL": f"http://127.0.0.1:{self.model_port}/v1",
            "RUN_CONCURRENCY": "2",
            "RUN_QUEUE_LIMIT": "20",
            "CLIENT_TIMEOUT_S": "2",
            "SHUTDOWN_GRACE_S": "0.2",
        }
        ready = f"http://127.0.0.1:{self.api_port}/health/live"
        return self._run(["serve"], env, ready)

    def _run_backup(self) -> Program:
        env = {
            "DATABASE_URL": f"sqlite:///{self.database}",
            "BACKUP_DIR": str(self.folder / "backups"),
            "BACKUP_COPY_DIR": str(_made(self.folder / "copies")),
            "BACKUP_METRICS_PORT": str(self.backup_port),
        }
        ready = f"http://127.0.0.1:{self.backup_port}/health/live"
        return self._run(["backup", "--every", "1s"], env, ready)

    def call(self, method: str, path: str, body: Any = None, key: str = KEY, timeout_s: float = 30) -> tuple[int, Any]:
        """Ask the API; return the status and what it answered."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def made(self, path: str, body: Any, *, timeout_s: float = 30) -> str:
        """Make something; return its id."""
        status, answer = self.call("POST", path, body, timeout_s=timeout_s)
        assert status == 200, answer
        made: str = json.loads(answer)["id"]
        return made


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@contextmanager
def whole_stack(folder: Path, around: Mapping[str, Around] = AS_USUAL, *, vllm: str | None = None) -> Iterator[Stack]:
    """Run everything for a block."""
    with ExitStack() as stack:
        yield Stack(folder, stack, around, vllm)
