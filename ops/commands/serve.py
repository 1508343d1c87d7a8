"""`python -m ops serve`."""

from collections.abc import Callable

import click

from app.db.opening import REFUSALS
from app.server import serve as serve_until_stopped
from app.settings import Settings
from app.telemetry.logs import configure_logs
from ops.commands.settings import fail, settings_or_exit


@click.command()
def serve() -> None:
    """Run the API until SIGINT or SIGTERM, configured by the environment. Migrates first."""
    settings = settings_or_exit()
    if settings.api_key is None:
        click.echo("warning: API_KEY is not set: every request but health and docs will be refused.", err=True)
    run(settings)


def run(settings: Settings, *, on_started: Callable[[], None] = lambda: None) -> None:
    """Serve; what keeps the store from opening is one line and exit status 1."""
    configure_logs(settings.log_level, settings.log_format)
    try:
        started = serve_until_stopped(settings, on_started=on_started)
    except REFUSALS as problem:
        fail(str(problem))
    if not started:
        fail(f"the API could not start on {settings.api_host}:{settings.api_port}; the lines above say why")
