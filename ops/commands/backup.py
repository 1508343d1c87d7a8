"""`python -m ops backup`: one snapshot now, or with `--every` the sidecar that keeps taking them."""

import re
import signal
import threading
from contextlib import ExitStack
from typing import Any

import click

from app.telemetry.logs import configure_logs
from ops.backup.failures import BackupFailed
from ops.backup.metrics import Metrics, answering
from ops.backup.opening import Parts
from ops.backup.sidecar import Sidecar
from ops.backup.snapshot import Snapshotter
from ops.commands.backups import inside_the_appliance, parts_or_exit
from ops.commands.settings import fail, settings_or_exit

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
LONGEST_S = 86_400


class Span(click.ParamType[int]):
    """Seconds, or a number with s, m or h."""

    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a span of time."""
        read = re.fullmatch(r"(\d+)([smh]?)", str(value))
        seconds = int(read[1]) * UNITS[read[2]] if read else 0
        if not 1 <= seconds <= LONGEST_S:
            self.fail(f"'{value}' is no time from 1 second to a day: write 60, 60s, 1m or 1h", param, ctx)
        return seconds


@click.command()
@click.option("--every", type=Span(), help="Go on as the sidecar: look so often, and take one when something changed.")
def backup(every: int | None) -> None:
    """Take a snapshot of the state now, verified before it counts."""
    if every is None and inside_the_appliance("backup"):
        return
    parts = parts_or_exit()
    try:
        if every is None:
            once(parts)
        else:
            keep_on(parts, every)
    except BackupFailed as failure:
        fail(str(failure))


def once(parts: Parts) -> None:
    """Take one and tell of it. Raises BackupFailed."""
    with parts.notes.locked():
        taken = Snapshotter(parts.source, parts.local, parts.scratch, parts.settings.recipients).take()
    if taken is None:
        fail("the database has no schema yet: start the API once")
    manifest = taken.manifest
    if taken.is_new:
        new, all_of_it = manifest.new_bytes / 1e6, manifest.size_bytes / 1e6
        click.echo(
            f"{manifest.id}  {all_of_it:.1f} MB, {new:.1f} MB of it new, verified in {manifest.duration_s:.1f} s"
        )
    else:
        click.echo(f"{manifest.id}  nothing changed since")


def keep_on(parts: Parts, every_s: int) -> None:
    """Be the sidecar until SIGINT or SIGTERM. Raises BackupFailed when its port is taken."""
    settings = settings_or_exit()
    configure_logs(settings.log_level, settings.log_format)
    metrics = Metrics()
    sidecar = Sidecar(parts, metrics, every_s)
    for number in (signal.SIGINT, signal.SIGTERM):
        # In a thread: a handler that runs while its own thread holds the lock of an event would wait for itself.
        signal.signal(number, lambda *_: threading.Thread(target=sidecar.stop).start())
    host, port = parts.settings.metrics_host, parts.settings.metrics_port
    with ExitStack() as stack:
        try:
            stack.enter_context(answering(host, port, metrics.registry, sidecar.refresh))
        except OSError as failure:
            raise BackupFailed("other", f"cannot listen on {host}:{port}: {failure.strerror}") from None
        sidecar.run()
