"""`python -m ops backups`, and what the verbs of backups have in common: their settings, and where they run."""

import json
import os
import sys
import time
from typing import Any

import click

from app.settings import SettingsError
from ops.backup.composed import in_sidecar, is_composed
from ops.backup.failures import BackupFailed
from ops.backup.listing import listed
from ops.backup.opening import Parts, parts_of
from ops.backup.settings import load_backup_settings
from ops.commands.settings import EXIT_BAD_SETTINGS, fail, settings_or_exit

COLUMNS = ("id", "age", "size", "new", "messages", "state", "drilled", "copies")


def parts_or_exit() -> Parts:
    """Build what backups work on; say what is wrong and exit where that cannot be done."""
    settings = settings_or_exit()
    try:
        return parts_of(settings, load_backup_settings(os.environ))
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        sys.exit(EXIT_BAD_SETTINGS)
    except BackupFailed as failure:
        fail(str(failure))


def inside_the_appliance(*words: str) -> bool:
    """Run a verb in the composed appliance, where its volumes are; False when there is none."""
    try:
        if not is_composed():
            return False
        in_sidecar(*words)
    except BackupFailed as failure:
        fail(str(failure))
    return True


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def backups(as_json: bool) -> None:
    """List the snapshots, newest first: age, size, whether whole and drilled, and which copies have them."""
    if inside_the_appliance("backups", *(["--json"] if as_json else [])):
        return
    parts = parts_or_exit()
    try:
        found, copies = listed(parts)
    except BackupFailed as failure:
        fail(str(failure))
    if as_json:
        click.echo(json.dumps({"snapshots": found, "copies": copies}, indent=1))
        return
    show([_row(one, time.time()) for one in found])
    for label, state in copies.items():
        click.echo(f"{label}: {state}")


def _row(one: dict[str, Any], now: float) -> dict[str, str]:
    drill = one["drill"]
    return {
        "id": one["id"],
        "age": span(now - one["taken_at"]),
        "size": megabytes(one["size_bytes"]),
        "new": megabytes(one["new_bytes"]),
        "messages": "" if one["messages"] is None else f"{one['messages']:,}",
        "state": one["state"],
        "drilled": "" if drill is None else f"{'ok' if drill['ok'] else 'FAILED'} {span(now - drill['at'])} ago",
        "copies": ",".join(one["copies"]),
    }


def megabytes(size: int | None) -> str:
    """Write a size for people."""
    return "" if size is None else f"{size / 1e6:.1f} MB"


def span(seconds: float) -> str:
    """Write how long ago something was."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def show(rows: list[dict[str, str]]) -> None:
    """Print a table."""
    widths = {name: max([len(name), *(len(row[name]) for row in rows)]) for name in COLUMNS}
    for row in ({name: name for name in COLUMNS}, *rows):
        click.echo("  ".join(row[name].ljust(widths[name]) for name in COLUMNS).rstrip())
