"""`python -m ops status`."""

import json
import sys
from typing import Any

import click

from ops.appliance.docker import DockerFailed, compose_config, containers
from ops.appliance.waiting import address, state_of
from ops.commands.settings import fail

COLUMNS = ("Service", "State", "Health", "Status", "Image")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def status(as_json: bool) -> None:
    """Show each service and whether the API is ready; exit status 1 when it is not."""
    try:
        url = address(compose_config())
        found = [{name.lower(): one.get(name, "") for name in COLUMNS} for one in containers()]
    except DockerFailed as failure:
        fail(str(failure))
    state = state_of(url)
    if as_json:
        click.echo(json.dumps({"url": f"{url}/v1", "state": state.stage, "message": state.words, "services": found}))
    else:
        show(found)
        click.echo(f"\n{url}/v1: {state.stage}" + (f", {state.words}" if state.words != state.stage else ""))
    if state.stage != "ready":
        sys.exit(1)


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    titles = [name.lower() for name in COLUMNS]
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) if rows else len(name) for name in titles]
    for cells in (titles, *([str(row[name]) for name in titles] for row in rows)):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
