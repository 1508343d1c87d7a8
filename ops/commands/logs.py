"""`python -m ops logs`."""

import click

from ops.appliance.docker import DockerFailed, told
from ops.commands.settings import fail


@click.command()
@click.argument("services", nargs=-1)
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--tail", default="100", show_default=True, help="Lines of each service; `all` for all.")
def logs(services: tuple[str, ...], follow: bool, tail: str) -> None:
    """Show what the appliance's services logged: all of them, or those named."""
    words = ("compose", "--profile", "*", "logs", "--tail", tail, *(("--follow",) if follow else ()), *services)
    try:
        told(*words, within_s=None)  # whoever follows says when it is enough
    except DockerFailed as failure:
        fail(str(failure))
    except KeyboardInterrupt:
        return
