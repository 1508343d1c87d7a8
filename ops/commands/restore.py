"""`python -m ops restore`."""

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ops.backup.composed import ComposedFiles, ComposedServer, in_keeper, is_composed, poured
from ops.backup.failures import BackupFailed
from ops.backup.fetch import fetch, prove
from ops.backup.opening import Parts
from ops.backup.planning import Chosen, Plan, choose, plan_of
from ops.backup.restoring import Restoring
from ops.backup.switching import Hooks, NoServer, Server, carry_on
from ops.commands.audit import Moment
from ops.commands.backups import megabytes, parts_or_exit, span
from ops.commands.settings import fail, settings_or_exit
from ops.remote import address_of

PHASES = ("progress", "stage", "swap", "undo", "finish", "pour")
FILE = "sovereign_assistant.db"


@click.command()
@click.argument("wanted", required=False, metavar="[latest|ID]")
@click.option("--at", type=Moment(), help="The newest snapshot that is not after this time.")
@click.option("--dry-run", is_flag=True, help="Verify the snapshot, say what would be done; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="The plan as one JSON object.")
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), help="Into this folder; the state is left alone."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--stop", help="Command that stops the API, where it does not run in the appliance.")
@click.option("--start", help="Command that starts it again.")
@click.option("--phase", type=click.Choice(PHASES), hidden=True, help="One part of it, for who does the others.")
def restore(wanted: str | None, at: int | None, phase: str | None, **options: Any) -> None:
    """Put a snapshot in the place of the state: the newest one, one by its ID or the beginning of it, or one by time.

    The state of before is kept. One that was cut off goes on where it was: say `restore` again.
    """
    if wanted and at is not None:
        fail("say which snapshot by its ID or by --at, not by both")
    if bool(options["stop"]) != bool(options["start"]):
        fail("--stop and --start belong together")
    try:
        if phase is not None:
            part(phase, wanted, at)
        elif is_composed():
            restore_composed(wanted, at, options)
        else:
            restore_here(parts_or_exit(), wanted, at, options)
    except BackupFailed as failure:
        fail(str(failure))


def restore_here(parts: Parts, wanted: str | None, at: int | None, options: dict[str, Any]) -> None:
    """Restore onto files of this machine. Raises BackupFailed."""
    files = Restoring(parts.source)
    begun = files.progress() if options["to"] is None else None
    with parts.notes.locked(shared=True):
        if begun is None:
            found = choose(parts, wanted, at)
            target = parts.source.database if options["to"] is None else options["to"] / FILE
            plan = plan_of(found, target, keeps_present=options["to"] is None and target.exists())
            show(plan, as_json=options["as_json"])
            if options["dry_run"]:
                return
            if options["to"] is not None:
                put_beside(found, target)
                return
            if options["stop"] is None:
                files.require_free()
            agree(options["yes"])
            files.stage(found.archive, found.manifest)
        else:
            going_on(begun.snapshot, wanted)
            if options["dry_run"]:
                return
        server = server_of(options)
        safety = carry_on(files, server, silent if isinstance(server, NoServer) else say)
    told(safety, server)


def say(words: str) -> None:
    """Tell what is being done."""
    click.echo(words, err=True)


def silent(words: str) -> None:
    """Tell nothing of an API that is neither stopped nor started."""


def told(safety: str | None, server: Server) -> None:
    """Say what there is now."""
    words = "" if safety is None else f"; the state of before is {safety}, beside it: remove it when it is not missed"
    click.echo(f"restored{words}", err=True)
    if isinstance(server, NoServer):
        click.echo("start the API now", err=True)


def server_of(options: dict[str, Any]) -> Server:
    """Return how the API is stopped and started."""
    if options["stop"] is None:
        return NoServer()
    return Hooks(options["stop"], options["start"], address_of(settings_or_exit()))


def put_beside(found: Chosen, target: Path) -> None:
    """Restore into a folder, for looking. Raises BackupFailed."""
    fetch(found.archive, found.manifest, free_target(target.parent))
    prove(target, found.manifest)
    tell_where(target)


def free_target(folder: Path) -> Path:
    """Make a folder for a copy of the state; return where the copy goes. Raises BackupFailed."""
    target = folder / FILE
    if target.exists():
        raise BackupFailed("other", f"{target} is there already: name another folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return target


def tell_where(target: Path) -> None:
    """Say what to do with a copy of the state."""
    click.echo(f"{target} is there; docs/recover.md says how to look into it and take a thread out of it", err=True)


def going_on(begun: str, wanted: str | None) -> None:
    """Refuse to begin another restore while one is unfinished."""
    if wanted not in (None, "latest") and not begun.startswith(str(wanted)):
        fail(f"the restore of {begun} was cut off and must end first: say `restore` without an ID")
    click.echo(f"going on with the restore of {begun}, which was cut off", err=True)


def agree(yes: bool) -> None:
    """Ask a person; a program has made up its mind."""
    if not yes and sys.stdin.isatty():
        click.confirm("Go on?", abort=True)


def show(plan: Plan, *, as_json: bool) -> None:
    """Say what would be done."""
    if as_json:
        click.echo(msgspec.json.encode(plan))
        return
    taken = datetime.fromtimestamp(plan.taken_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    schema = (
        plan.schema_from if plan.schema_from == plan.schema_to else f"{plan.schema_from}, migrated to {plan.schema_to}"
    )
    click.echo(f"snapshot  {plan.snapshot} of {taken}, {span(plan.age_s)} old, verified just now")
    click.echo(f"from      {plan.place}{', encrypted' if plan.encrypted else ''}, made by release {plan.app_version}")
    kept = "which is kept under another name" if plan.keeps_present else "where there is none"
    click.echo(f"onto      {plan.target}, {kept}")
    click.echo(f"size      {megabytes(plan.size_bytes)}, {megabytes(plan.free_bytes)} free; schema {schema}")
    click.echo(f"holds     {plan.rows.get('threads', 0)} threads, {plan.rows.get('messages', 0)} messages")
    for label, words in plan.not_asked.items():
        click.echo(f"NOT ASKED {label}, which may have newer ones: {words}")


def pour(parts: Parts, found: Chosen) -> None:
    """Write the database of a snapshot to standard output, once it is proven. Raises BackupFailed."""
    parts.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="pour-", dir=parts.scratch) as folder:
        target = Path(folder) / FILE
        fetch(found.archive, found.manifest, target)
        prove(target, found.manifest)
        with target.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


def restore_composed(wanted: str | None, at: int | None, options: dict[str, Any]) -> None:
    """Restore the composed appliance: the state is in volumes, and only the API is stopped. Raises BackupFailed."""
    which = [*([wanted] if wanted else []), *(["--at", str(at)] if at is not None else [])]
    if options["to"] is not None and not options["dry_run"]:
        target = free_target(options["to"])
        poured(target, "restore", *which, "--phase", "pour")
        tell_where(target)
        return
    files = ComposedFiles()
    begun = files.progress()
    if begun is None:
        in_keeper("restore", *which, "--dry-run", *(["--json"] if options["as_json"] else []))
        if options["dry_run"]:
            return
        agree(options["yes"])
        files.stage(*which)
    else:
        going_on(begun.snapshot, wanted)
        if options["dry_run"]:
            return
    server = ComposedServer()
    told(carry_on(files, server, say), server)


def part(phase: str, wanted: str | None, at: int | None) -> None:
    """Do one part of a restore; the others are done from outside this container. Raises BackupFailed."""
    parts = parts_or_exit()
    files = Restoring(parts.source)
    match phase:
        case "progress":
            click.echo(msgspec.json.encode(files.progress()))
        case "stage":
            with parts.notes.locked(shared=True):
                found = choose(parts, wanted, at)
                progress = files.stage(found.archive, found.manifest)
            click.echo(msgspec.json.encode(progress))
        case "pour":
            with parts.notes.locked(shared=True):
                pour(parts, choose(parts, wanted, at))
        case "swap":
            click.echo(msgspec.json.encode(files.swap()))
        case "undo":
            files.undo()
        case _:
            files.finish()
