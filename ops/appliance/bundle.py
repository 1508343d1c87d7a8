"""Packs all that a host without internet needs into one folder, and unpacks it there. Checksums are in SHA256SUMS."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ops.appliance.docker import ROOT, DockerFailed, asked, told
from ops.appliance.weights import SUMS, faults, sha256, write_sums

IMAGES, FILES, MODEL, WHEELS = "images.tar", "files.tar", "model.tar", "wheels"
LEFT_OUT = {"secrets", "data", ".env", "__pycache__", ".git", ".hypothesis", ".sdk", ".vllm"}
KEEPER = ("compose", "--profile", "keepers", "run", "--rm", "--no-deps", "-T", "--entrypoint", "tar", "model-keeper")
MODEL_WITHIN_S = 6 * 3600.0

Step = tuple[str, Callable[[Path], None]]


def pack(folder: Path, *, model: bool, wheels: bool) -> Iterator[Step]:
    """Yield what is to be done, in order, each step with the words that say it."""
    yield f"pack the images into {IMAGES}", save_images
    yield f"pack this folder, without secrets and state, into {FILES}", save_files
    if wheels:
        yield f"download the locked Python packages into {WHEELS}/", save_wheels
    if model:
        yield f"pack the model volume into {MODEL}", save_model
    yield f"write {SUMS}", save_sums


def unpack(folder: Path) -> Iterator[Step]:
    """Yield what is to be done on the other host, in order."""
    yield f"verify {folder / SUMS}", verify
    yield "load the images", load_images
    if (folder / MODEL).exists():
        yield "unpack the weights into the model volume", load_model


def save_images(folder: Path) -> None:
    """Save every image of the profiles in force; they must be there. Raises DockerFailed."""
    names = sorted(set(asked("compose", "config", "--images").split()))
    told("save", "--output", str(folder / IMAGES), *names)


def save_files(folder: Path) -> None:
    """Archive this folder."""

    def wanted(one: tarfile.TarInfo) -> tarfile.TarInfo | None:
        name = Path(one.name).name
        return None if name in LEFT_OUT or name.startswith(".venv") or (one.isdir() and name == folder.name) else one

    with tarfile.open(folder / FILES, "w") as archive:
        archive.add(ROOT, "sovereign-assistant", filter=wanted)


def save_wheels(folder: Path) -> None:
    """Download what `just setup` installs, and `just` with it. Raises DockerFailed."""
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--requirement", "requirements/dev.txt"]
    if subprocess.run([*command, "--dest", str(folder / WHEELS)], cwd=ROOT, check=False).returncode:
        raise DockerFailed("the Python packages could not be downloaded; the lines above say why")


def save_model(folder: Path) -> None:
    """Archive the model volume. Raises DockerFailed."""
    with (folder / MODEL).open("wb") as archive:
        piped("-C", "/models", "-cf", "-", ".", stdout=archive.fileno())


def save_sums(folder: Path) -> None:
    """Write the checksum of every file."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != SUMS]
    write_sums(folder, {str(path.relative_to(folder)): sha256(path) for path in files})


def verify(folder: Path) -> None:
    """Hold every file to its checksum. Raises DockerFailed, WeightsProblem."""
    wrong = [f"{path}: {fault}" for path, fault in faults(folder) if fault]
    if wrong:
        raise DockerFailed("; ".join(wrong))


def load_images(folder: Path) -> None:
    """Give the images to the engine. Raises DockerFailed."""
    told("load", "--input", str(folder / IMAGES))


def load_model(folder: Path) -> None:
    """Unpack the weights into the volume. Raises DockerFailed."""
    with (folder / MODEL).open("rb") as archive:
        piped("-C", "/models", "-xf", "-", stdin=archive.fileno())


def piped(*words: str, stdin: int = subprocess.DEVNULL, stdout: int | None = None) -> None:
    """Run tar in the container that has the model volume. Raises DockerFailed."""
    done = subprocess.run(
        ["docker", *KEEPER, *words],
        cwd=ROOT,
        env=os.environ,
        stdin=stdin,
        stdout=stdout,
        timeout=MODEL_WITHIN_S,
        check=False,
    )
    if done.returncode:
        raise DockerFailed("the model volume could not be reached; the lines above say why")
