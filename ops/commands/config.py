"""`python -m ops config`."""

import json

import click

from app.settings import redacted
from ops.commands.settings import settings_or_exit


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def config(as_json: bool) -> None:
    """Show every setting as the API would read it, secrets hidden."""
    shown = redacted(settings_or_exit())
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        click.echo(f"{name}={'' if value is None else value}")
