"""`python -m ops export`: take out what a project holds, one thread, or everything, as JSON Lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from app.moving.schemas import ExportPage
from ops.commands.settings import fail, settings_or_exit
from ops.moving.progress import Progress
from ops.moving.sending import decoded, patiently
from ops.remote import NobodyListens, Refused, Remote


@click.command()
@click.argument("everything", type=click.Choice(["all"]), required=False)
@click.option("--project", metavar="ID", help="What this project holds.")
@click.option("--thread", metavar="ID", help="This thread or conversation, and the assistant that it is bound to.")
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Else standard output.")
@click.option("--url", help="Address of the API; by default that of the settings.")
def export(
    everything: str | None, project: str | None, thread: str | None, output: Path | None, url: str | None
) -> None:
    """Take out assistants, threads and messages as JSON Lines, in a form that `import` reads: all, or some.

    A file is there when it is whole: until then it has another name.
    """
    if sum(given is not None for given in (everything, project, thread)) != 1:
        raise click.UsageError("Give one of `all`, --project and --thread.")
    settings = settings_or_exit()
    remote, progress = Remote(settings, url), Progress(None)
    query = {name: value for name, value in (("project_id", project), ("thread_id", thread)) if value}
    count = size = 0
    try:
        with sink(output) as file:
            for page in pages(remote, query):
                for line in page.data:
                    size += file.write(bytes(line) + b"\n")
                count += len(page.data)
                progress.tell(count, size)
    except NobodyListens:
        fail(f"no API answers at {remote.address}")
    except (Refused, OSError) as problem:
        fail(str(problem))
    progress.clear()
    click.echo(f"{count:,} objects, {size:,} bytes", err=True)


def pages(remote: Remote, query: dict[str, str]) -> Iterator[ExportPage]:
    """Yield pages until the last one. Raises Refused and NobodyListens."""
    after: str | None = ""
    while after is not None:
        asked = query | ({"after": after} if after else {})
        content = patiently(lambda asked=asked: remote.ask("GET", "/admin/export", query=asked))  # type: ignore[misc]
        page: ExportPage = decoded(content, ExportPage, remote)
        yield page
        after = page.after


@contextmanager
def sink(output: Path | None) -> Iterator[IO[bytes]]:
    """Give where lines go: standard output, or a file that gets its name when it is whole and on disk."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        # For the owner alone: there are conversations in it.
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(output)
        folder = os.open(output.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        beside.unlink(missing_ok=True)
