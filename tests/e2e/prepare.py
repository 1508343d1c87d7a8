"""Make what the tests of older SDKs need, if not there yet: `.sdk/openai-1.109.1`, the SDK with its own locked parts.

Two majors of the SDK cannot share one environment: this one speaks through httpx, 3.x through httpx2.
Standard library only; `python -m tests.e2e.prepare` from the repository root does the same by hand.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "sdk1.txt"
FOLDER = ROOT / ".sdk" / "openai-1.109.1"
MARKER = FOLDER / "prepared"
COMMAND = "python -m tests.e2e.prepare"


class Unprepared(Exception):
    """The SDK could not be installed; the message says why."""


def say(text: str) -> None:
    """Print what is going on, at once."""
    print(f"[prepare] {text}", flush=True)


def fingerprint() -> str:
    """Name what the folder is made from: the lock, and the Python that compiled parts are for."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes())
    digest.update(f"{sys.implementation.cache_tag} {sys.platform} {os.uname().machine}".encode())
    return digest.hexdigest()


def is_ready() -> bool:
    """Tell whether the folder is whole. The marker is written last, so an interrupted install is none."""
    return MARKER.is_file() and MARKER.read_text().strip() == fingerprint()


def installer() -> list[str]:
    """Return the installer of this environment: pip, or uv where the environment was made without pip."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    raise Unprepared(f"neither pip nor uv belongs to {sys.executable}: run `just setup`")


def install() -> None:
    """Put the SDK and exactly what its lock names into the folder."""
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = [*installer(), "-q", "--require-hashes", "--no-deps", "--target", str(FOLDER), "-r", str(REQUIREMENTS)]
    say(f"installing {REQUIREMENTS.relative_to(ROOT)} into {FOLDER.relative_to(ROOT)}")
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Unprepared(f"{FOLDER.name} could not be installed ({' '.join(command[1:4])} …):\n{done.stdout.strip()}")
    MARKER.write_text(fingerprint() + "\n")
    say(f"done in {time.monotonic() - began:.0f} s")


def prepare() -> Path:
    """Return the folder, made if need be; one preparation at a time on a machine. Raises Unprepared."""
    FOLDER.parent.mkdir(exist_ok=True)
    with (FOLDER.parent / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready():
            say(f"{FOLDER.relative_to(ROOT)} is there")
        else:
            install()
    return FOLDER


def main() -> int:
    """Prepare, and say what is wrong in one go when it cannot be done."""
    try:
        prepare()
    except Unprepared as problem:
        say(f"ERROR: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
