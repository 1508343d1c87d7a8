"""`python -m bench [SCENARIO …]`: run scenarios and print their figures."""

import app  # noqa: F401, I001 - first, so that sqlite3 is the fixed engine

import platform
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import click
import uvloop

from bench.admission import admission
from bench.backups import backups
from bench.lengths import growth, starts
from bench.real_model import real_model
from bench.relay import relay
from bench.responses import responses
from bench.scenarios import chunk_cost, first_token, runs_per_second
from bench.table import Row, lines
from bench.telemetry import telemetry

SCENARIOS: dict[str, Callable[[float], Coroutine[Any, Any, list[Row]]]] = {
    "first-token": first_token,
    "runs": runs_per_second,
    "chunks": chunk_cost,
    "starts": starts,
    "admission": admission,
    "relay": relay,
    "responses": responses,
    "telemetry": telemetry,
    "vllm": real_model,
    "growth": partial(growth, threads=100_000),
    "growth-large": partial(growth, threads=1_000_000),
    "backups": partial(backups, megabytes=100),
    "backups-large": partial(backups, megabytes=1000),
    "backups-largest": partial(backups, megabytes=5000),
}
DEFAULT = ("first-token", "runs", "chunks", "starts", "admission", "relay", "responses", "telemetry", "vllm", "growth")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(SCENARIOS)))
@click.option("--seconds", default=6.0, show_default=True, help="How long each load lasts.")
def main(names: tuple[str, ...], seconds: float) -> None:
    """Measure the API next to the bare model server and print a table."""
    rows: list[Row] = []
    for name in names or DEFAULT:
        click.echo(f"measuring {name} …", err=True)
        rows += uvloop.run(SCENARIOS[name](seconds))
    click.echo(f"{time.strftime('%Y-%m-%d %H:%M')}, Python {platform.python_version()}, {platform.machine()}\n")
    click.echo("\n".join(lines(rows)))


if __name__ == "__main__":
    main()
