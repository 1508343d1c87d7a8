"""`python -m ops import FILE`: bring in what was exported, from OpenAI or by `python -m ops export`."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
from msgspec import json

from app.moving.reading import BadLine
from app.moving.schemas import RefusedLine, Renamed
from ops.commands.settings import fail, settings_or_exit
from ops.moving.batching import BATCH_BYTES, batches, numbered
from ops.moving.progress import Progress
from ops.moving.sending import Listener, Options, Sender, Stopped
from ops.remote import NobodyListens, Refused, Remote

AGAIN = "What was taken so far is kept; give the same command again to go on."


class Told(Listener):
    """Says on standard output what got another id, and on standard error what was refused; or all as JSON Lines."""

    def __init__(self, progress: Progress, *, as_json: bool) -> None:
        self._progress = progress
        self._as_json = as_json

    def renamed(self, one: Renamed) -> None:
        """Say what an object is called now."""
        self._say({"renamed": one}, f"line {one.line}: {one.object} {one.id} is {one.new_id} here", err=False)

    def refused(self, one: RefusedLine) -> None:
        """Say why a line was not taken."""
        self._say({"refused": one}, f"line {one.line}: {one.reason}", err=True)

    def late(self, number: int) -> None:
        """Say that a message is out of order."""
        words = f"line {number}: older than the message before it in its thread; it stands after that"
        self._say({"late": {"line": number}}, words, err=True)

    def _say(self, found: object, words: str, *, err: bool) -> None:
        self._progress.clear()
        if self._as_json:
            click.echo(json.encode(found))
        else:
            click.echo(words, err=err)


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--project", metavar="ID", help="Bring everything into this project, whatever the file says.")
@click.option("--dry-run", is_flag=True, help="Check and count; keep nothing.")
@click.option("--strict", is_flag=True, help="End at the first bad line, and keep nothing of its batch.")
@click.option("--json", "as_json", is_flag=True, help="As JSON Lines; the last one counts.")
@click.option("--url", help="Address of the API; by default that of the settings.")
def import_(file: IO[bytes], project: str | None, dry_run: bool, strict: bool, as_json: bool, url: str | None) -> None:
    """Bring in assistants, threads and messages from a file of JSON Lines; - is standard input.

    What is there already is left alone, so the same command can be given again. Exit status 1 when a line was refused.
    """
    settings = settings_or_exit()
    progress = Progress(size_of(file))
    options = Options(project_id=project, dry_run=dry_run, strict=strict)
    sender = Sender(Remote(settings, url), options, Told(progress, as_json=as_json))
    most = min(BATCH_BYTES, settings.body_limit_bytes // 2)
    counted = Counted(file)
    try:
        for one in batches(counted, most):
            sender.take(one)
            progress.tell(sender.added.total() + sender.skipped.total(), counted.size)
    except Stopped:
        pass
    except NobodyListens:
        progress.clear()
        fail(f"no API answers at {Remote(settings, url).address}. {AGAIN}")
    except Refused as refused:
        progress.clear()
        fail(f"{refused}. {AGAIN}".replace("..", "."))
    progress.clear()
    summarise(sender, as_json=as_json, dry_run=dry_run)
    if sender.refused:
        raise SystemExit(1)


class Counted:
    """The numbered lines of a file, and how many bytes of them were read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = 0
        self._file = file

    def __iter__(self) -> Iterator[tuple[int, bytes | BadLine]]:
        for number, text in numbered(self._file):
            self.size += 0 if isinstance(text, BadLine) else len(text) + 1
            yield number, text


def size_of(file: IO[bytes]) -> int | None:
    """Return how long a file is, where that can be known."""
    path = Path(str(getattr(file, "name", "-")))
    return path.stat().st_size if path.is_file() else None


def summarise(sender: Sender, *, as_json: bool, dry_run: bool) -> None:
    """Say how many objects of each kind there were."""
    if as_json:
        counts = {"added": sender.added, "skipped": sender.skipped, "refused": sender.refused, "kept": not dry_run}
        click.echo(json.encode({"summary": counts}))
        return
    for kind in sorted(sender.added.keys() | sender.skipped.keys()):
        new = "would be added" if dry_run else "added"
        click.echo(f"{kind}: {sender.added[kind]:,} {new}, {sender.skipped[kind]:,} there already")
    if sender.refused:
        click.echo(f"{sender.refused:,} lines were refused", err=True)
