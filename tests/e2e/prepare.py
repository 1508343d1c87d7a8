"""Make what tests of other packages need, if not there yet: `.sdk/NAME-VERSION`, each with its own locked parts.

They cannot share an environment with the suite or each other: SDK 1.x speaks through httpx, 3.x through httpx2, and
each framework has its own wishes. Standard library only; `python -m tests.e2e.prepare [NAME …]` from the repository
root does the same by hand.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ROOT / ".sdk"
COMMAND = "python -m tests.e2e.prepare"


class Unprepared(Exception):
    """A package could not be installed; the message says why."""


@dataclass(frozen=True)
class Package:
    """A package with its parts: what it is called, the lock it is made from, and the folder it goes into."""

    name: str
    version: str
    lock: str

    @property
    def requirements(self) -> Path:
        """Where the lock is."""
        return ROOT / "requirements" / self.lock

    @property
    def folder(self) -> Path:
        """Where the package goes."""
        return FOLDERS / f"{self.name}-{self.version}"

    @property
    def marker(self) -> Path:
        """Where it is noted that the folder is whole."""
        return self.folder / "prepared"

    def fingerprint(self) -> str:
        """Name what the folder is made from: the lock, and the Python that compiled parts are for."""
        digest = hashlib.sha256(self.requirements.read_bytes())
        digest.update(f"{sys.implementation.cache_tag} {sys.platform} {os.uname().machine}".encode())
        return digest.hexdigest()

    def is_ready(self) -> bool:
        """Tell whether the folder is whole. The marker is written last, so an interrupted install is none."""
        return self.marker.is_file() and self.marker.read_text().strip() == self.fingerprint()


OLDER_SDK = Package("openai", "1.109.1", "sdk1.txt")
SECOND_SDK = Package("openai", "2.54.0", "sdk2.txt")
"""Of the years in which Responses and Conversations came."""
LANGCHAIN = Package("langchain-classic", "1.0.8", "langchain.txt")
SEMANTIC_KERNEL = Package("semantic-kernel", "1.45.0", "semantic-kernel.txt")
AUTOGEN = Package("autogen-ext", "0.7.5", "autogen.txt")
RESPONSES = Package("openai-agents", "0.24.0", "responses.txt")
"""With the other frameworks that speak Responses."""
SCHEMATHESIS = Package("schemathesis", "4.32.5", "schemathesis.txt")
DRAWING = Package("matplotlib", "3.11.2", "drawing.txt")
"""Draws the dashboards for those who have no Grafana."""
MOTO = Package("moto", "5.2.5", "moto.txt")
PACKAGES = (OLDER_SDK, SECOND_SDK, LANGCHAIN, SEMANTIC_KERNEL, AUTOGEN, RESPONSES, SCHEMATHESIS, DRAWING, MOTO)


def say(text: str) -> None:
    """Print what is going on, at once."""
    print(f"[prepare] {text}", flush=True)


def installer() -> list[str]:
    """Return the installer of this environment: pip, or uv where the environment was made without pip."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    raise Unprepared(f"neither pip nor uv belongs to {sys.executable}: run `just setup`")


def install(package: Package) -> None:
    """Put a package and exactly what its lock names into its folder."""
    began = time.monotonic()
    folder, requirements = package.folder, package.requirements
    shutil.rmtree(folder, ignore_errors=True)
    command = [*installer(), "-q", "--require-hashes", "--no-deps", "--target", str(folder), "-r", str(requirements)]
    say(f"installing {requirements.relative_to(ROOT)} into {folder.relative_to(ROOT)}")
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Unprepared(f"{folder.name} could not be installed ({' '.join(command[1:4])} …):\n{done.stdout.strip()}")
    package.marker.write_text(package.fingerprint() + "\n")
    say(f"done in {time.monotonic() - began:.0f} s")


def prepare(package: Package) -> Path:
    """Return a package's folder, made if need be; one preparation at a time on a machine. Raises Unprepared."""
    FOLDERS.mkdir(exist_ok=True)
    with (FOLDERS / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if package.is_ready():
            say(f"{package.folder.relative_to(ROOT)} is there")
        else:
            install(package)
    return package.folder


def main(names: list[str]) -> int:
    """Prepare what is named, or everything, and say what is wrong in one go when it cannot be done."""
    known = dict.fromkeys(package.name for package in PACKAGES)
    if strangers := sorted(set(names) - set(known)):
        say(f"ERROR: {', '.join(strangers)} is none of {', '.join(known)}")
        return 1
    try:
        for package in PACKAGES:
            if not names or package.name in names:
                prepare(package)
    except Unprepared as problem:
        say(f"ERROR: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
