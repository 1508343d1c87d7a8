"""`python -m ops up`: check, start, and wait until it is ready or say what is wrong."""

import os
import shutil

import click

from ops.appliance import secrets
from ops.appliance.checks import all_checks, secret_files
from ops.appliance.docker import ROOT, DockerFailed, compose_config, told
from ops.appliance.waiting import address, wait_until_ready
from ops.commands.settings import fail

READY_WITHIN_S = 1200.0


@click.command()
@click.option("--dry-run", is_flag=True, help="Check, and say what would be done; change nothing.")
@click.option("--wait-s", default=READY_WITHIN_S, show_default=True, help="Seconds to wait for the model; 0 for none.")
def up(dry_run: bool, wait_s: float) -> None:
    """Start the appliance with Docker Compose, made ready first: .env, secrets, images."""
    try:
        settle(dry_run=dry_run)
        if dry_run:
            told("compose", "up", "--detach", "--dry-run")
            return
        told("compose", "up", "--detach", "--quiet-pull", "--remove-orphans")
        url = address(compose_config())
        if wait_s:
            wait_until_ready(url, wait_s)
        click.echo(f"{url}/v1  (key: {secret_files(compose_config())['api_key']})")
    except DockerFailed as failure:
        fail(str(failure))


def settle(*, dry_run: bool) -> None:
    """Make what is missing and check everything; say it line by line. Raises DockerFailed when something is wrong."""
    if not (ROOT / ".env").exists():
        click.echo("make  .env from .env.example")
        if not dry_run:
            shutil.copy(ROOT / ".env.example", ROOT / ".env")
    config = compose_config()
    wrong = 0
    for check in all_checks(config, os.environ):
        click.echo(f"{'ok' if not check.problems else 'BAD':5} {check.name}: {check.found}")
        for problem in check.problems:
            click.echo(f"      {problem}", err=True)
        wrong += len(check.problems)
    if wrong:
        raise DockerFailed(f"{wrong} thing{'s' if wrong > 1 else ''} to put right first; nothing was started")
    for name, path in secrets.missing(secret_files(config)).items():
        click.echo(f"make  {path}")
        if not dry_run:
            secrets.make(name, path)
