"""One composed appliance in a folder of its own, as an operator has it, and what tests ask of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import OpenAI

from tests.fixtures.processes import ROOT

PROJECT = "sovereign-test"
VERSION = "test"
API_IMAGE = f"sovereign-assistant-api:{VERSION}"
STANDIN_BASE = "sovereign-test-vllm:standin"
MODEL = "llama-3.1-70b-instruct"
RUNNING = ("api", "vllm", "prometheus", "gpu-exporter", "backup")
COMMAND_WITHIN_S = 300.0


class Appliance:
    """A folder with the project, `.env` and secrets; every command is run there."""

    def __init__(self, folder: Path, *, api_port: int, prometheus_port: int) -> None:
        self.folder = folder
        self.port = api_port
        self.prometheus_port = prometheus_port
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/root"),
            "COMPOSE_FILE": "compose.yaml:tests/containers/compose.test.yaml",
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_PROFILES": "gpu",
            "APPLIANCE_VERSION": VERSION,
            "API_PORT": str(api_port),
            "PROMETHEUS_PORT": str(prometheus_port),
            "ENGINE_CPUS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def key(self) -> str:
        """The administrator's key, as `just up` made it."""
        return self.secret("api_key")

    def secret(self, name: str) -> str:
        """What is in a secret's file."""
        return (self.folder / "secrets" / name).read_text().strip()

    def client(self) -> OpenAI:
        """The official SDK, without retries."""
        return OpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=30)

    def ops(self, *words: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run `python -m ops WORDS` as the recipes do."""
        return self.run(sys.executable, "-m", "ops", *words, env=env)

    def compose(self, *words: str, env: dict[str, str] | None = None) -> str:
        """Run `docker compose WORDS`; return what it prints."""
        done = self.run("docker", "compose", *words, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *words: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run any program in the folder."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.env | (env or {}),
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )

    def inspect(self, service: str) -> Any:
        """Tell how the engine describes a service's container."""
        return json.loads(docker("inspect", f"{PROJECT}-{service}-1"))[0]

    def gateway(self, network: str) -> str:
        """Return the address of this machine on one of its networks."""
        form = "{{(index .IPAM.Config 0).Gateway}}"
        return docker("network", "inspect", f"{PROJECT}_{network}", "--format", form).strip()

    def inside(self, service: str, code: str) -> "subprocess.CompletedProcess[str]":
        """Run a Python program in a service's container."""
        return self.run("docker", "exec", f"{PROJECT}-{service}-1", "python3", "-c", code)

    def wait(self, what: str, is_so: Callable[[], bool], within_s: float = 60.0) -> float:
        """Wait until something is so; return the seconds that took, or fail with the logs."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() - began > within_s:
                raise AssertionError(f"not {what} after {within_s:.0f} s\n{self.compose('logs', '--tail', '20')}")
            time.sleep(0.1)
        return time.monotonic() - began

    def is_ready(self) -> bool:
        """Tell whether runs can be carried out."""
        return self.ops("status", "--json").returncode == 0


def docker(*words: str) -> str:
    """Run `docker WORDS`; return what it prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def clone(folder: Path) -> Path:
    """Copy what git would give into a folder: no virtual environment, no state, no secrets."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def first_process(appliance: Appliance, service: str) -> dict[str, str]:
    """Tell what the kernel says of a container's first process."""
    pid = appliance.inspect(service)["State"]["Pid"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
