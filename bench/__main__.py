"""`python -m bench [SCENARIO …]`: run scenarios and print their figures."""

import app  # noqa: F401, I001 - first, so that sqlite3 is the fixed engine

import platform
import time
from functools import partial

import click
import uvloop

from bench.scenarios import Row, chunk_cost, first_token, growth, runs_per_second

SCENARIOS = {
    "first-token": first_token,
    "runs": runs_per_second,
    "chunks": chunk_cost,
    "growth": partial(growth, threads=100_000),
    "growth-large": partial(growth, threads=1_000_000),
}
DEFAULT = ("first-token", "runs", "chunks", "growth")


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
    widths = [max(len(cell) for cell in column) for column in zip(*map(_cells, [HEADER, *rows]), strict=True)]
    for row in (HEADER, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(_cells(row), widths, strict=True)).rstrip())


HEADER = Row("what", "through the API", "bare model server", "aim")


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.what, row.figure, row.bare, row.aim


if __name__ == "__main__":
    main()
