"""`python -m ops health`: what a container's health check runs. Standard library only, so that it starts fast."""

import os
import sys
import urllib.error
import urllib.request

import click

TIMEOUT_S = 8.0


@click.command()
@click.option("--ready", is_flag=True, help="Also ask whether runs can be carried out now.")
def health(ready: bool) -> None:
    """Ask the API on this machine how it is; exit status 0 when it is well."""
    port = os.environ.get("API_PORT") or "8001"
    path = "ready" if ready else "live"
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/{path}", timeout=TIMEOUT_S) as answer:
            click.echo(answer.read().decode())
    except urllib.error.HTTPError as answer:
        click.echo(answer.read().decode())
        sys.exit(1)
    except OSError as failure:
        click.echo(f"error: the API does not answer on port {port}: {failure}", err=True)
        sys.exit(1)
