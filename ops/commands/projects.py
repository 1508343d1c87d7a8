"""`python -m ops projects`: a client of /admin/projects."""

import time

import click
from msgspec import UNSET

from app.keys.schemas import CreateProject, UpdateProject
from app.kit.pages import MAX_LIMIT, PageQuery
from ops.keys.asking import LOCAL, Call, Json, carry_out
from ops.keys.options import asked_of, id_in_path, limits, limits_of, say
from ops.keys.showing import PROJECT_COLUMNS, lines_of, table_of

PAGES = 1000


@click.group()
def projects() -> None:
    """Make, change and archive projects, the tenants of this server."""


@projects.command()
@click.argument("name")
@limits
@asked_of
def create(name: str, bounds: tuple[tuple[str, int], ...], url: str | None, as_json: bool) -> None:
    """Make a project."""
    body = CreateProject(name=name, limits=limits_of(bounds))
    call = Call(
        method="POST", path="/admin/projects", body=body, work=lambda opened: opened.projects.create(LOCAL, body)
    )
    _show(carry_out(call, url), as_json)


@projects.command("list")
@asked_of
def list_projects(url: str | None, as_json: bool) -> None:
    """List projects, newest first."""
    found: list[Json] = []
    for _ in range(PAGES):
        page = carry_out(_page(found[-1]["id"] if found else None), url)
        found += page["data"]
        if not page["has_more"]:
            break
    say(table_of(found, PROJECT_COLUMNS, time.time()), found, as_json=as_json)


def _page(after: str | None) -> Call:
    wanted = PageQuery(limit=MAX_LIMIT, after=after)
    query = {"limit": str(MAX_LIMIT)} | ({"after": after} if after else {})
    return Call(method="GET", path="/admin/projects", query=query, work=lambda opened: opened.projects.page(wanted))


@projects.command()
@click.argument("project_id", metavar="ID")
@click.option("--name", help="What it is called.")
@limits
@click.option("--no-limits", is_flag=True, help="It has no limits.")
@asked_of
def update(
    project_id: str,
    name: str | None,
    bounds: tuple[tuple[str, int], ...],
    no_limits: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Change a project. What is not given stays."""
    if bounds and no_limits:
        raise click.UsageError("--limit and --no-limits exclude each other.")
    body = UpdateProject(name=UNSET if name is None else name, limits=None if no_limits else limits_of(bounds) or UNSET)
    path = _path(project_id)
    call = Call(
        method="POST", path=path, body=body, work=lambda opened: opened.projects.update(LOCAL, project_id, body)
    )
    _show(carry_out(call, url), as_json)


@projects.command()
@click.argument("project_id", metavar="ID")
@asked_of
def archive(project_id: str, url: str | None, as_json: bool) -> None:
    """Archive a project for ever: its keys let nobody in from the next request on, its rows stay."""
    path = f"{_path(project_id)}/archive"
    call = Call(method="POST", path=path, work=lambda opened: opened.projects.archive(LOCAL, project_id))
    _show(carry_out(call, url), as_json)


def _path(project_id: str) -> str:
    return id_in_path("/admin/projects", project_id)


def _show(found: Json, as_json: bool) -> None:
    say(lines_of(found), found, as_json=as_json)
