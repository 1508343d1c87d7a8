"""`python -m ops upgrade`."""

import click

from ops.appliance.docker import DockerFailed
from ops.appliance.upgrading import upgrade as carry_out
from ops.appliance.upgrading import what_runs
from ops.commands.settings import fail


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--build/--no-build", default=True, show_default=True, help="Build and pull, or take images as they are.")
def upgrade(dry_run: bool, build: bool) -> None:
    """Replace the running API by this folder's version: state set aside, migrated, held to answering, or taken back."""
    try:
        running = what_runs()
        click.echo(f"from  {running.image[:19]}, kept as {running.previous}\nto    {running.name}")
        if dry_run:
            click.echo("build, stop the API, set the state aside, start, wait for its database; else all of it back")
            return
        carry_out(running, build=build, say=click.echo)
    except DockerFailed as failure:
        fail(str(failure))
    click.echo(f"{running.name} runs; the state of before is in the volume `backups`")
