"""`python -m ops keys`: a client of /admin/keys."""

import time
from typing import Any

import click
from msgspec import UNSET

from app.keys.grant import Scope
from app.keys.schemas import DEFAULT_GRACE_S, CreateKey, RotateKey, UpdateKey
from app.kit.pages import MAX_LIMIT, PageQuery
from ops.keys.asking import LOCAL, Call, Json, carry_out
from ops.keys.options import Duration, asked_of, id_in_path, limits, limits_of, models, say, scopes
from ops.keys.showing import KEY_COLUMNS, lines_of, table_of

PAGES = 1000
ONCE = "The key is shown this once: only its hash is kept."


@click.group()
def keys() -> None:
    """Make, change and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--project", help="Id of the project it belongs to; by default the default project.")
@scopes
@models
@limits
@click.option("--expires-in", type=Duration(), help="Seconds until it expires, or such as 12h or 30d.")
@asked_of
def create(
    name: str,
    project: str | None,
    scopes: tuple[Scope, ...],
    models: tuple[str, ...],
    bounds: tuple[tuple[str, int], ...],
    expires_in: int | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a key. Without --scope it may do all but administer."""
    body = CreateKey(
        name=name,
        project_id=project,
        scopes=list(scopes) or None,
        models=list(models) or None,
        limits=limits_of(bounds),
        expires_at=None if expires_in is None else int(time.time()) + expires_in,
    )
    call = Call(method="POST", path="/admin/keys", body=body, work=lambda opened: opened.keys.create(LOCAL, body))
    _show_secret(carry_out(call, url), as_json)


@keys.command("list")
@click.option("--project", help="Only the keys of the project with this id.")
@asked_of
def list_keys(project: str | None, url: str | None, as_json: bool) -> None:
    """List keys, newest first."""
    found: list[Json] = []
    for _ in range(PAGES):
        page = carry_out(_page(project, found[-1]["id"] if found else None), url)
        found += page["data"]
        if not page["has_more"]:
            break
    say(table_of(found, KEY_COLUMNS, time.time()), found, as_json=as_json)


def _page(project: str | None, after: str | None) -> Call:
    wanted = PageQuery(limit=MAX_LIMIT, after=after)
    query = (
        {"limit": str(MAX_LIMIT)} | ({"after": after} if after else {}) | ({"project_id": project} if project else {})
    )
    return Call(method="GET", path="/admin/keys", query=query, work=lambda opened: opened.keys.page(project, wanted))


@keys.command()
@click.argument("key_id", metavar="ID")
@asked_of
def show(key_id: str, url: str | None, as_json: bool) -> None:
    """Show a key, without its secret."""
    call = Call(method="GET", path=_path(key_id), work=lambda opened: opened.keys.retrieve(key_id))
    _show(carry_out(call, url), as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--name", help="What it is called.")
@scopes
@models
@click.option("--all-models", is_flag=True, help="It may use every model.")
@limits
@click.option("--no-limits", is_flag=True, help="It has no limits of its own.")
@click.option("--expires-in", type=Duration(), help="Seconds from now until it expires, or such as 12h or 30d.")
@click.option("--never-expires", is_flag=True, help="It does not expire.")
@asked_of
def update(key_id: str, url: str | None, as_json: bool, **given: Any) -> None:
    """Change a key, from the next request on. What is not given stays."""
    body = update_of(**given)
    call = Call(
        method="POST", path=_path(key_id), body=body, work=lambda opened: opened.keys.update(LOCAL, key_id, body)
    )
    _show(carry_out(call, url), as_json)


def update_of(
    *,
    name: str | None,
    scopes: tuple[Scope, ...],
    models: tuple[str, ...],
    all_models: bool,
    bounds: tuple[tuple[str, int], ...],
    no_limits: bool,
    expires_in: int | None,
    never_expires: bool,
) -> UpdateKey:
    """Return the changes that were given. Raises UsageError for two that contradict each other."""
    for both, words in (
        (models and all_models, "--model and --all-models"),
        (bounds and no_limits, "--limit and --no-limits"),
        (expires_in is not None and never_expires, "--expires-in and --never-expires"),
    ):
        if both:
            raise click.UsageError(f"{words} exclude each other.")
    expires_at = UNSET if expires_in is None else int(time.time()) + expires_in
    return UpdateKey(
        name=UNSET if name is None else name,
        scopes=list(scopes) or UNSET,
        models=None if all_models else list(models) or UNSET,
        limits=None if no_limits else limits_of(bounds) or UNSET,
        expires_at=None if never_expires else expires_at,
    )


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--grace", type=Duration(), default=DEFAULT_GRACE_S, help="How long the old secret is taken: a day.")
@asked_of
def rotate(key_id: str, grace: int, url: str | None, as_json: bool) -> None:
    """Give a key a new secret. The old one is taken until its grace is over."""
    body = RotateKey(grace_s=grace)
    path = f"{_path(key_id)}/rotate"
    call = Call(method="POST", path=path, body=body, work=lambda opened: opened.keys.rotate(LOCAL, key_id, body))
    _show_secret(carry_out(call, url), as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@asked_of
def revoke(key_id: str, url: str | None, as_json: bool) -> None:
    """Revoke a key for ever, from the next request on."""
    call = Call(method="POST", path=f"{_path(key_id)}/revoke", work=lambda opened: opened.keys.revoke(LOCAL, key_id))
    _show(carry_out(call, url), as_json)


def _path(key_id: str) -> str:
    return id_in_path("/admin/keys", key_id)


def _show(found: Json, as_json: bool) -> None:
    say(lines_of(found), found, as_json=as_json)


def _show_secret(found: Json, as_json: bool) -> None:
    _show(found, as_json)
    click.echo(ONCE, err=True)
