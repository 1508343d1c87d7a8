"""A model's weights: fetched once from a repository of Hugging Face's form, each file resumed where it stopped.

A file counts only when its checksum is the one that the repository names. Then its line goes into SHA256SUMS, which
`sha256sum --check` reads too. Standard library only; it runs in a container that has the volume and a way out.
"""

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

SUMS = "SHA256SUMS"
PART = ".part"
CHUNK_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 60.0
TRIES = 5
UNWANTED = re.compile(r"(^|/)(\.|original/)|\.(pth|md|png|jpg)$")

Progress = Callable[[str, int, int], None]
"""Is told a file's name, how many of its bytes are there, and how many it has."""


class WeightsProblem(Exception):
    """Something is wrong with the weights or where they come from; the message is one line."""


class Remote(NamedTuple):
    """Where weights come from."""

    endpoint: str
    repository: str
    revision: str
    token: str | None = None

    def open(self, path: str, start: int = 0) -> Any:
        """Ask for an address below the endpoint, from a byte on. Raises WeightsProblem."""
        request = urllib.request.Request(f"{self.endpoint.rstrip('/')}/{path}")  # noqa: S310 - the operator's
        if self.token:
            # Not sent on to where a file is kept: that is another host, and its address is signed.
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        if start:
            request.add_header("Range", f"bytes={start}-")
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - as above


class Entry(NamedTuple):
    """A file of the repository. `digest` is SHA-256 of a large one, git's own number of a small one."""

    path: str
    size: int
    digest: str
    is_large: bool


def listing(remote: Remote, pattern: str = "*") -> tuple[str, list[Entry]]:
    """Return the commit that a revision is now, and those of its files that are wanted. Raises WeightsProblem."""
    repository = quote(remote.repository)
    try:
        with remote.open(f"api/models/{repository}/revision/{quote(remote.revision, safe='')}") as answer:
            commit = str(json.load(answer)["sha"])
        with remote.open(f"api/models/{repository}/tree/{commit}?recursive=true") as answer:
            found = [entry(one) for one in json.load(answer) if one["type"] == "file"]
    except urllib.error.HTTPError as refused:
        with refused:
            why = "it wants a token (HF_TOKEN_FILE)" if refused.code in (401, 403) else f"status {refused.code}"
        raise WeightsProblem(f"{remote.repository} cannot be listed: {why}") from None
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as failure:
        raise WeightsProblem(f"{remote.repository} cannot be listed: {failure}") from None
    return commit, [one for one in found if not UNWANTED.search(one.path) and fnmatch(one.path, pattern)]


def entry(told: Any) -> Entry:
    """Read one file of a listing. Raises WeightsProblem for a name that leads out of the folder."""
    path, large = str(told["path"]), told.get("lfs")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise WeightsProblem(f"the repository names a file outside itself: {path}")
    return Entry(path, int(told["size"]), str(large["oid"] if large else told["oid"]), bool(large))


def fetch(remote: Remote, folder: Path, progress: Progress, pattern: str = "*") -> str:
    """Bring every file that is not there yet; return the commit that they are of. Raises WeightsProblem."""
    commit, entries = listing(remote, pattern)
    sums = read_sums(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for one in entries:
        target = folder / one.path
        if one.path in sums and target.is_file() and target.stat().st_size == one.size:
            continue
        bring(remote._replace(revision=commit), one, target, progress)
        sums[one.path] = sha256(target)
        write_sums(folder, sums)
    return commit


def bring(remote: Remote, one: Entry, target: Path, progress: Progress) -> None:
    """Bring one file under its own name only once it is whole. Raises WeightsProblem."""
    part = target.with_name(target.name + PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    for tried in range(1, TRIES + 1):
        try:
            receive(remote, one, part, progress)
            break
        except (OSError, HTTPException) as failure:
            if tried == TRIES or (isinstance(failure, urllib.error.HTTPError) and failure.code < 500):
                raise WeightsProblem(f"{one.path}: {failure}; what came is kept, run it again to go on") from None
    if digest_of(part, one) != one.digest:
        part.unlink()
        raise WeightsProblem(f"{one.path}: its checksum is wrong; it was removed, run it again")
    part.replace(target)


def receive(remote: Remote, one: Entry, part: Path, progress: Progress) -> None:
    """Append what is missing of a file. Raises OSError, also when the connection ended early."""
    there = part.stat().st_size if part.exists() else 0
    if there > one.size:
        part.unlink()
        there = 0
    address = f"{quote(remote.repository)}/resolve/{remote.revision}/{quote(one.path)}"
    with remote.open(address, there) as answer, part.open("ab") as file:
        if there and answer.status != 206:
            file.truncate(there := 0)
        while there < one.size and (chunk := answer.read(CHUNK_BYTES)):
            file.write(chunk)
            there += len(chunk)
            progress(one.path, there, one.size)
        file.flush()
        os.fsync(file.fileno())
    if there != one.size:
        raise OSError(f"{there} of {one.size} bytes came")


def digest_of(path: Path, one: Entry) -> str:
    """Return what the repository would call a file's contents."""
    if one.is_large:
        return sha256(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha256(path: Path) -> str:
    """Return the checksum of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """Return the checksums that were written down, by path; none when there is no list."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Write the list anew, whole or not at all."""
    part = folder / (SUMS + PART)
    part.write_text("".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())), encoding="utf-8")
    part.replace(folder / SUMS)


def faults(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Read every file of the list; yield its path with what is wrong with it, or None. Raises WeightsProblem."""
    sums = read_sums(folder)
    if not sums:
        raise WeightsProblem(f"{folder} has no {SUMS}: `just model-fetch` brings the weights and writes it")
    for path, digest in sums.items():
        try:
            yield path, None if sha256(folder / path) == digest else "its checksum is wrong"
        except OSError as failure:
            yield path, failure.strerror or "cannot be read"
