"""`python -m ops config`."""

import json
from typing import Any

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
        click.echo(f"{name}={as_variable(value)}")


def as_variable(value: Any) -> str:
    """Write a setting as its variable would hold it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return ",".join(value)
        case dict():
            return ",".join(f"{alias}={model}" for alias, model in value.items())
        case float():
            return f"{value:g}"
        case _:
            return str(value)
