"""Runs schemathesis on the whole exported document, against a real API over the model stand-in.

`python -m tests.schemathesis [OPTION …]`, from the repository root; options go to `schemathesis run`. Exit status 1
when a check fails, when the API told of a fault in its log, or when an operation never did what it is for: then the
checks have only seen refusals of it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.prepare import SCHEMATHESIS, Unprepared, prepare
from tests.fixtures.processes import ROOT, api_process, stand_in
from tests.fixtures.routes import ROUTES
from tests.fixtures.servers import API_KEY, MODEL
from tests.schemathesis.families import make_caller, make_families

WITHIN_S = 360
CONFIG = Path(__file__).with_name("schemathesis.toml")


def main(options: list[str]) -> int:
    """Run everything and say what was found; return an exit status."""
    try:
        packages = prepare(SCHEMATHESIS)
    except Unprepared as problem:
        print(f"ERROR: {problem}")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        status = _attack(folder, packages, options)
        faults = list(_faults(folder / "api.log"))
    print(*faults, sep="\n")
    return 1 if status or faults else 0


def _attack(folder: Path, packages: Path, options: list[str]) -> int:
    # Enough at once beside the responses that go on until they are cancelled.
    env = {"API_KEY": API_KEY, "RUN_CONCURRENCY": "32", "DATABASE_URL": f"sqlite:///{folder}/sovereign_assistant.db"}
    with (
        stand_in(folder / "model.log", "--model", MODEL, "--token-ms", "5") as model_url,
        api_process(folder / "api.log", env | {"MODEL_URL": model_url}) as (url, _),
    ):
        second = make_caller(url, API_KEY)
        config = _configuration(folder, {"first": API_KEY, "second": second.key})
        seeds = folder / "seeds.json"
        families = make_families(url, API_KEY)
        seeds.write_text(json.dumps({"families": families, "spared": second.spared, "model": MODEL}))
        document = url.removesuffix("/v1") + "/openapi.json"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", document, *options]
        paths = os.pathsep.join((str(packages), str(ROOT)))
        env = {**os.environ, "PYTHONPATH": paths, "SCHEMATHESIS_SEEDS": str(seeds)}
        return subprocess.run(command, cwd=folder, env=env, timeout=WITHIN_S, check=False).returncode


def _configuration(folder: Path, keys: Mapping[str, str]) -> Path:
    """Write the configuration: the first caller does everything, and none of the others may see what it made."""
    callers = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
        for name, key in keys.items()
    ]
    (folder / "callers.json").write_text(json.dumps({"auth": callers}))
    auth = (
        f'\n[auth.wfc]\npath = "{folder}/callers.json"\nuser = "{next(iter(keys))}"\npeers = {json.dumps(list(keys))}\n'
    )
    config = folder / CONFIG.name
    config.write_text(CONFIG.read_text() + auth)
    return config


def _faults(log: Path) -> Iterator[str]:
    """Read the API's own account: what it told of as a fault, and what it never did."""
    done: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        told: dict[str, Any] = json.loads(line)
        if told["level"] in ("error", "critical"):
            yield f"ERROR: the API told of a fault: {line}"
        elif told["message"] == "request" and told["status"] < 300:
            done[f"{told['method']} {told['route']}"] += 1
    for route in ROUTES:
        if not done[str(route)]:
            yield f"ERROR: {route} was never answered with success"


if __name__ == "__main__":
    began = time.monotonic()
    status = main(sys.argv[1:])
    print(f"{'failed' if status else 'passed'} after {time.monotonic() - began:.0f} s")
    sys.exit(status)
