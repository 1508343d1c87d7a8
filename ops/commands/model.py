"""`python -m ops model fetch | verify`: the weights in the model volume. `just model-fetch` runs it in a container."""

import os
import sys
import time
from pathlib import Path

import click

from ops.appliance.weights import Entry, Remote, WeightsProblem, faults, fetch, listing, read_sums
from ops.commands.settings import fail

REPOSITORY = "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4"
FOLDER = "/models/llama-3.1-70b-instruct-awq"
ENDPOINT = "https://huggingface.co"
SHOW_EVERY_S = 1.0


@click.group()
def model() -> None:
    """Fetch the model's weights, or verify them against the checksums that were written down."""


@model.command("fetch")
@click.argument("repository", default=REPOSITORY)
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit.")
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where they go.")
@click.option("--endpoint", envvar="HF_ENDPOINT", default=ENDPOINT, show_default=True, help="Where they come from.")
@click.option("--include", default="*", show_default=True, help="Only files of this pattern: `*Q4_K_M.gguf`.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched; change nothing.")
def fetch_weights(repository: str, revision: str, folder: Path, endpoint: str, include: str, dry_run: bool) -> None:
    """Bring the weights of REPOSITORY; what is there already is left alone, what was cut off goes on."""
    remote = Remote(endpoint, repository, revision, token())
    try:
        if dry_run:
            commit, entries = listing(remote, include)
            show_plan(folder, commit, entries)
            return
        commit = fetch(remote, folder, Shown(), include)
    except WeightsProblem as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{folder}: {problem.strerror}")
    click.echo(f"{repository} at {commit} is in {folder}")


@model.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where they are.")
def verify(folder: Path) -> None:
    """Read every file and compare its checksum; exit status 1 when one is wrong."""
    wrong = 0
    try:
        for path, fault in faults(folder):
            wrong += fault is not None
            click.echo(f"{'ok ' if fault is None else 'BAD'}  {path}" + (f": {fault}" if fault else ""))
    except WeightsProblem as problem:
        fail(str(problem))
    if wrong:
        sys.exit(1)


def token() -> str | None:
    """Return the token for repositories that want one, from HF_TOKEN_FILE."""
    file = os.environ.get("HF_TOKEN_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else None


def show_plan(folder: Path, commit: str, entries: list[Entry]) -> None:
    """Say what would be fetched."""
    there = read_sums(folder)
    for one in entries:
        click.echo(f"{'there' if one.path in there else 'fetch'}  {one.size / 1e6:10.1f} MB  {one.path}")
    missing = sum(one.size for one in entries if one.path not in there)
    click.echo(f"{missing / 1e9:.1f} GB to fetch into {folder}, of commit {commit}")


class Shown:
    """A line about each file: once a second while it comes, and when it is whole."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, path: str, there: int, size: int) -> None:
        """Say how far a file is."""
        now = time.monotonic()
        if there == size or now - self._last > SHOW_EVERY_S:
            self._last = now
            click.echo(f"{100 * there // max(size, 1):3d} %  {there / 1e9:6.2f} of {size / 1e9:.2f} GB  {path}")
