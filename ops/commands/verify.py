"""`python -m ops verify`."""

import time

import click

from ops.backup.drill import drill
from ops.backup.failures import BackupFailed
from ops.backup.opening import Parts
from ops.backup.planning import choose
from ops.backup.record import Drill
from ops.commands.backups import inside_the_appliance, parts_or_exit
from ops.commands.settings import fail


@click.command()
@click.argument("wanted", required=False, metavar="[latest|ID]")
def verify(wanted: str | None) -> None:
    """Prove a snapshot, by default the newest: restore it into scratch, start an API on it and read a conversation."""
    if inside_the_appliance("verify", *([wanted] if wanted else [])):
        return
    try:
        name, words = proven(parts_or_exit(), wanted)
    except BackupFailed as failure:
        fail(str(failure))
    click.echo(f"{name}  {words}")


def proven(parts: Parts, wanted: str | None) -> tuple[str, str]:
    """Carry the drill out and note it. Raises BackupFailed."""
    with parts.notes.locked(shared=True):
        found = choose(parts, wanted, None)
        problem = None
        try:
            words = drill(found.archive, found.manifest, parts.scratch)
        except BackupFailed as failure:
            problem, words = failure, str(failure)
    with parts.notes.locked():
        made = Drill(time.time(), problem is None, words)
        parts.notes.note_drill(found.manifest.id, made, frozenset(parts.local.ids()))
    if problem is not None:
        raise problem
    return found.manifest.id, words
