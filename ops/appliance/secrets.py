"""The appliance's secrets: files that Compose mounts, made when missing.

Their folder is for its owner alone. The files in it can be read by anybody who gets that far, because a container sees
the file with the owner and the mode that it has here, and runs as another user.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

MADE: Mapping[str, Callable[[], str]] = {
    "api_key": lambda: f"sk-{secrets.token_urlsafe(32)}",
    "key_pepper": lambda: secrets.token_urlsafe(48),
    "model_api_key": lambda: f"sk-{secrets.token_urlsafe(32)}",
    "grafana_password": lambda: secrets.token_urlsafe(18),
}


def missing(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return those of the named files that are not there."""
    return {name: path for name, path in files.items() if not path.exists()}


def problems(files: Mapping[str, Path]) -> list[str]:
    """Say what is wrong with secrets that are there, and which of the missing cannot be made."""
    found = [
        f"{folder}: others can look into it: chmod 700"
        for folder in sorted({path.parent for path in files.values()})
        if folder.is_dir() and folder.stat().st_mode & 0o077
    ]
    for name, path in files.items():
        if path.is_file():
            if not os.access(path, os.R_OK) or not path.stat().st_mode & 0o004:
                found.append(f"{path}: the container's user cannot read it: chmod 444, its folder keeps others out")
            elif not path.read_text(encoding="utf-8").strip():
                found.append(f"{path}: empty")
        elif path.exists():
            found.append(f"{path}: not a file; Docker makes a folder where a secret is missing: remove it")
        elif name not in MADE:
            found.append(f"{path}: missing, and not a secret that can be made up")
    return found


def make(name: str, path: Path) -> None:
    """Write a new secret; one that is there is never replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "w") as file:
        file.write(MADE[name]() + "\n")
        os.fchmod(file.fileno(), 0o444)  # whatever the umask
