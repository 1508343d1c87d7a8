"""`python -m ops audit verify | export | head`: who changed what, for those who must be able to show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click
from msgspec import json
from msgspec.structs import asdict

from app.audit.chain import START, Link, Reason
from app.audit.schemas import AuditRecord, AuditVerification, RecordFilter, Span, entry_of, link_of
from app.db.opening import REFUSALS
from app.errors import ApiError
from app.kit.pages import MAX_LIMIT, PageQuery
from ops.audit_source import AuditSource, audit_source
from ops.commands.settings import fail, settings_or_exit
from ops.remote import Refused

WORDS: dict[Reason, str] = {
    "changed": "the record at position {} was changed",
    "missing": "the record at position {} was removed",
    "inserted": "a record was inserted at position {}",
    "unreadable": "the record at position {} cannot be read",
    "cut_off": "the chain was cut off: the record at position {} is missing, which the anchor says was there",
    "rewritten": "the chain was rewritten: position {} does not have the anchor's hash",
}


class Anchor(click.ParamType[Link]):
    """A link as `head` prints it."""

    name = "POSITION:HASH"

    def convert(self, value: str | Link, param: click.Parameter | None, ctx: click.Context | None) -> Link:
        """Read a link."""
        try:
            return value if isinstance(value, Link) else link_of("anchor", value)
        except ApiError as error:
            self.fail(error.message, param, ctx)


class Moment(click.ParamType[int]):
    """A second since 1970, or a date and time in ISO 8601; without a zone it is UTC."""

    name = "TIME"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a moment."""
        if isinstance(value, int) or value.isdecimal():
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"'{value}' is no time: write 2026-11-22, 2026-11-22T09:00, or seconds since 1970.", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def from_where(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--url`, as `keys` has it."""
    return click.option("--url", help="Address of the API; by default that of the settings.")(command)


@click.group()
def audit() -> None:
    """Verify or export the record of who changed what, from the API that runs or, if none does, from its store."""


@audit.command()
@click.option("--anchor", type=Anchor(), help="A link of before, as `head` printed it: it must still be there.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@from_where
def verify(anchor: Link | None, as_json: bool, url: str | None) -> None:
    """Follow the chain from its beginning; exit status 1 when a record was changed, removed or inserted."""
    with opened(url) as source:
        found = verified(source, anchor)
    if as_json:
        click.echo(json.encode(found))
    elif found.fault is None:
        click.echo(f"sound: {found.position} records, head {found.position}:{found.hash}")
    if found.fault is not None:
        words = WORDS[found.fault.reason].format(found.fault.position)
        fail(f"{words}; the {found.position} records up to {found.position}:{found.hash} are sound")


def verified(source: AuditSource, anchor: Link | None) -> AuditVerification:
    """Verify the whole chain, part by part."""
    after = None
    while (found := source.verify(Span(after=after, anchor=anchor))).has_more:
        after = Link(found.position, found.hash)
    return found


@audit.command()
@click.option("--since", type=Moment(), help="Only what was done at this time or later.")
@click.option("--until", type=Moment(), help="Only what was done before this time.")
@click.option("--project", metavar="ID", help="Only what was done in this project.")
@from_where
def export(since: int | None, until: int | None, project: str | None, url: str | None) -> None:
    """Write records as JSON Lines to standard output, oldest first, each with its hash."""
    wanted = RecordFilter(project_id=project, since=since, until=until)
    with opened(url) as source:
        for record in records(source, wanted):
            click.echo(json.encode(asdict(entry_of(record)) | {"hash": record.hash}))


def records(source: AuditSource, wanted: RecordFilter) -> Iterator[AuditRecord]:
    """Yield records in the order of the chain, a page at a time."""
    query = PageQuery(limit=MAX_LIMIT, order="asc")
    while True:
        page = source.page(wanted, query)
        yield from page.data
        if not page.has_more:
            return
        query = PageQuery(limit=MAX_LIMIT, order="asc", after=page.last_id)


@audit.command()
@from_where
def head(url: str | None) -> None:
    """Print the newest link, POSITION:HASH. Kept elsewhere, it is an anchor: `verify --anchor` finds a cut-off end."""
    with opened(url) as source:
        newest = source.page(RecordFilter(), PageQuery(limit=1)).data
    link = Link(newest[0].position, newest[0].hash) if newest else START
    click.echo(f"{link.position}:{link.hash}")


@contextmanager
def opened(url: str | None) -> Iterator[AuditSource]:
    """Give the audit; what keeps it from being read is one line and exit status 1."""
    settings = settings_or_exit()
    try:
        with audit_source(settings, url) as source:
            yield source
    except REFUSALS as problem:
        fail(str(problem))
    except Refused as refused:
        fail(str(refused))
    except ApiError as error:
        fail(error.message)
