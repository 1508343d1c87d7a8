"""Makes `.venv` from the locked requirements and installs the git hook. Does nothing when both are up to date.

Run as a plain script by `just setup`, with any Python from 3.11 on.
"""

import hashlib
import importlib.util
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements" / "dev.txt"
MARK = VENV / "locked-requirements.sha256"
OLDEST = (3, 11)

HOOK = """\
#!/bin/sh
# Installed by `just setup`: what does not pass `just lint` is not committed.
exec just lint
"""


def main() -> int:
    """Bring the environment up to date; return an exit status."""
    if sys.version_info < OLDEST:
        print(f"error: Python {'.'.join(map(str, OLDEST))} or newer is needed, this is {sys.version.split()[0]}")
        return 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(LOCK.read_bytes() + version.encode()).hexdigest()
    if not MARK.exists() or MARK.read_text() != digest:
        install(digest)
    install_hook()
    return 0


def install(digest: str) -> None:
    """Make the virtual environment anew; its mark is written last, so that an interrupted install is redone."""
    started = time.monotonic()
    print("installing the locked requirements into .venv …", flush=True)
    # Debian keeps ensurepip in a package of its own (python3-venv); without it the outer pip installs into the venv.
    own_pip = importlib.util.find_spec("ensurepip") is not None
    venv.EnvBuilder(clear=True, with_pip=own_pip).create(VENV)
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip"] if own_pip else [sys.executable, "-m", "pip", "--python", python]
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", *options, "--require-hashes", "-r", str(LOCK)], check=True)
    MARK.write_text(digest)
    print(f"done in {time.monotonic() - started:.0f} s", flush=True)


def install_hook() -> None:
    """Install the pre-commit hook into a clone; elsewhere there is nothing to install into."""
    git = ROOT / ".git"
    if not git.is_dir():
        return
    hook = git / "hooks" / "pre-commit"
    if hook.exists() and hook.read_text() == HOOK:
        return
    if hook.exists():
        print(f"left alone: {hook} is not ours")
        return
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK)
    hook.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
