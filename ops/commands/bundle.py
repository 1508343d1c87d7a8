"""`python -m ops bundle`."""

from pathlib import Path

import click

from ops.appliance.bundle import pack
from ops.appliance.docker import DockerFailed
from ops.commands.settings import fail


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model/--no-model", default=True, show_default=True, help="The weights, too: 40 GB.")
@click.option("--wheels/--no-wheels", default=True, show_default=True, help="The Python packages, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def bundle(folder: Path, model: bool, wheels: bool, dry_run: bool) -> None:
    """Pack images, this folder, Python packages and weights into FOLDER, with checksums, for `load` elsewhere."""
    if folder.exists() and any(folder.iterdir()):
        fail(f"{folder} is not empty")
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        for words, step in pack(folder, model=model, wheels=wheels):
            click.echo(words)
            if not dry_run:
                step(folder.resolve())
    except (DockerFailed, OSError) as failure:
        fail(str(failure))
