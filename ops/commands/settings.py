"""What every verb does first: read the settings, or say all that is wrong with them."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

import click

from app.settings import Settings, SettingsError, load_settings

EXIT_BAD_SETTINGS = 2
EXIT_FAILED = 1


def settings_or_exit(env: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; with bad ones print a line for each problem and exit with status 2."""
    try:
        return load_settings(env)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        sys.exit(EXIT_BAD_SETTINGS)


def fail(message: str) -> NoReturn:
    """Print one line and exit with status 1."""
    click.echo(f"error: {message}", err=True)
    sys.exit(EXIT_FAILED)
