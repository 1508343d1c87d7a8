"""Options that the commands of projects and keys share, and what is typed into them."""

import json
import re
from collections.abc import Callable
from typing import Any

import click

from app.keys.grant import SCOPES
from app.keys.limits import Limits

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

Command = Callable[..., Any]


class Duration(click.ParamType[int]):
    """Seconds, also as `90m`, `12h` or `30d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds, or say what was expected."""
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration: expected seconds, or such as 90m, 12h or 30d", param, ctx)
        return int(found[1]) * UNITS_S[found[2]]


class Bound(click.ParamType[tuple[str, int]]):
    """A limit, as `requests_per_minute=60`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return a limit's name and number, or say what was expected."""
        name, _, number = str(value).partition("=")
        if name not in Limits.__struct_fields__ or not re.fullmatch(r"[0-9]{1,13}", number):
            known = ", ".join(Limits.__struct_fields__)
            self.fail(f"{value!r} is no limit: expected NAME=NUMBER with one of {known}", param, ctx)
        return name, int(number)


def asked_of(command: Command) -> Command:
    """Add what every command takes: whom to ask, and how to answer."""
    command = click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")(command)
    return click.option("--url", help="Address of the API; by default that of the settings.")(command)


def scopes(command: Command) -> Command:
    """Add `--scope`."""
    kind = click.Choice(SCOPES)
    return click.option("--scope", "scopes", multiple=True, type=kind, help="What it may do; repeat.")(command)


def models(command: Command) -> Command:
    """Add `--model`."""
    return click.option("--model", "models", multiple=True, help="A model it may use; repeat.")(command)


def limits(command: Command) -> Command:
    """Add `--limit`."""
    return click.option("--limit", "bounds", multiple=True, type=Bound(), help="NAME=NUMBER; repeat.")(command)


def limits_of(bounds: tuple[tuple[str, int], ...]) -> Limits | None:
    """Return the limits that were given, if any were."""
    return Limits(**dict(bounds)) if bounds else None


def id_in_path(path: str, object_id: str) -> str:
    """Return the path of an object. Raises UsageError for what cannot be an id."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", object_id):
        raise click.UsageError(f"{object_id!r} is no id.")
    return f"{path}/{object_id}"


def say(lines: list[str], found: Any, *, as_json: bool) -> None:
    """Print an answer."""
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
