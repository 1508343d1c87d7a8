"""`python -m ops down`."""

import click

from ops.appliance.docker import DockerFailed, told
from ops.commands.settings import fail


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def down(dry_run: bool) -> None:
    """Stop the appliance and remove its containers; state, model, metrics and backups stay in their volumes."""
    try:
        # Every profile: what was started under another one is stopped too.
        told("compose", "--profile", "*", "down", "--remove-orphans", *(("--dry-run",) if dry_run else ()))
    except DockerFailed as failure:
        fail(str(failure))
