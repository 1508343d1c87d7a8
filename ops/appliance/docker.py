"""Runs `docker` and `docker compose` in the appliance's folder; everything else here only decides what to run."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ASKED_WITHIN_S = 60.0
DONE_WITHIN_S = 6 * 3600.0  # vLLM's image comes over a slow line, too


class DockerFailed(Exception):
    """A command failed; the message is what it said last, in one line."""


def asked(*words: str, given: str | None = None, within_s: float = ASKED_WITHIN_S) -> str:
    """Run `docker WORDS`, with what it is given to read; return what it prints. Raises DockerFailed."""
    try:
        done = subprocess.run(
            ["docker", *words],
            cwd=ROOT,
            input=given,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise DockerFailed(f"docker {words[0]}: {failure}") from None
    if done.returncode:
        raise DockerFailed(last_line(done.stderr) or f"docker {' '.join(words[:2])} failed")
    return done.stdout


def told(
    *words: str,
    env: Mapping[str, str] = os.environ,
    within_s: float | None = DONE_WITHIN_S,
    given: str | None = None,
) -> None:
    """Run `docker WORDS` with its output on the terminal. Raises DockerFailed."""
    try:
        done = subprocess.run(
            ["docker", *words], cwd=ROOT, env=env, input=given, text=True, timeout=within_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise DockerFailed(f"docker {words[0]}: {failure}") from None
    if done.returncode:
        raise DockerFailed(f"docker {' '.join(words[:2])} ended with status {done.returncode}; the lines above say why")


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def compose_config() -> dict[str, Any]:
    """Return the composed appliance as Compose understands it, of the profiles in force. Raises DockerFailed."""
    config: dict[str, Any] = json.loads(asked("compose", "config", "--format", "json"))
    return config


def containers() -> list[dict[str, Any]]:
    """List the appliance's containers, stopped ones too, as Compose describes them. Raises DockerFailed."""
    text = asked("compose", "ps", "--all", "--format", "json")
    # A line for each; releases before 2.21 printed one array.
    found = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return sorted(found, key=lambda one: str(one["Service"]))
