"""`python -m ops load`."""

from pathlib import Path

import click

from ops.appliance.bundle import unpack
from ops.appliance.docker import DockerFailed
from ops.appliance.weights import WeightsProblem
from ops.commands.settings import fail


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def load(folder: Path, dry_run: bool) -> None:
    """Verify FOLDER, which `bundle` packed, and give its images and weights to this host's engine."""
    try:
        for words, step in unpack(folder):
            click.echo(words)
            if not dry_run:
                step(folder.resolve())
    except (DockerFailed, WeightsProblem, OSError) as failure:
        fail(str(failure))
