"""Projects and keys on the wire, and from a row to it."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, json
from sqlalchemy import Row

from app.keys.grant import SCOPES, Scope
from app.keys.limits import Limits, decode_limits
from app.kit.wire import STORABLE, Answer, Body

LONGEST_GRACE_S = 30 * 86_400
DEFAULT_GRACE_S = 86_400

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=STORABLE)]
ProjectId = Annotated[str, Meta(max_length=64, pattern="^proj[A-Za-z0-9_-]*$")]
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=len(SCOPES))]
Models = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=256, pattern=STORABLE)]],
    Meta(min_length=1, max_length=128),
]
Moment = Annotated[int, Meta(ge=0, le=2**40, description="Seconds since 1970.")]
Grace = Annotated[int, Meta(ge=0, le=LONGEST_GRACE_S)]


class CreateProject(Body, kw_only=True, frozen=True):
    """A new project: a tenant that sees only what is its own."""

    name: Name
    limits: Limits | None = None


class UpdateProject(Body, kw_only=True, frozen=True):
    """Changes to a project: what is not sent stays. `limits` are replaced as a whole; null clears them."""

    name: Name | UnsetType = UNSET
    limits: Limits | UnsetType | None = UNSET


class Project(Answer, kw_only=True, frozen=True):
    """A project. The keys of an archived one let nobody in."""

    id: str
    object: Literal["project"] = "project"
    name: str
    created_at: int
    archived_at: int | None
    limits: Limits


class CreateKey(Body, kw_only=True, frozen=True):
    """A new API key.

    Without a project it is one of the default project; without scopes it may do all but `admin`; without models it may
    use all; without `expires_at`, a second since 1970, it does not expire.
    """

    name: Name
    project_id: ProjectId | None = None
    scopes: Scopes | None = None
    models: Models | None = None
    limits: Limits | None = None
    expires_at: Moment | None = None


class UpdateKey(Body, kw_only=True, frozen=True):
    """Changes to a key: what is not sent stays. Lists and `limits` are replaced as a whole; null clears."""

    name: Name | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    models: Models | UnsetType | None = UNSET
    limits: Limits | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET


class RotateKey(Body, kw_only=True, frozen=True):
    """For how many seconds the old secret is still taken: a day unless sent, 0 for not at all."""

    grace_s: Grace = DEFAULT_GRACE_S


class ApiKey(Answer, kw_only=True, frozen=True):
    """An API key, without its secret. Times are seconds since 1970.

    `previous_until` says until when the secret before the last rotation is taken.
    """

    id: str
    object: Literal["api_key"] = "api_key"
    project_id: str
    name: str
    scopes: list[Scope]
    models: list[str] | None
    limits: Limits
    created_at: int
    rotated_at: int | None
    previous_until: int | None
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


class NewApiKey(ApiKey, kw_only=True, frozen=True):
    """An API key with its text, `key`, which is shown this once."""

    key: str


decode_scopes = json.Decoder(list[Scope]).decode
decode_models = json.Decoder(list[str]).decode


def in_order(scopes: Iterable[Scope]) -> list[Scope]:
    """Return scopes each once, in the order in which they are always shown."""
    wanted = set(scopes)
    return [scope for scope in SCOPES if scope in wanted]


def project_of(row: Row[Any]) -> Project:
    """Return a project as clients receive it."""
    return Project(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        archived_at=row.archived_at,
        limits=decode_limits(row.limits),
    )


def key_of(row: Row[Any]) -> ApiKey:
    """Return a key as clients receive it."""
    return ApiKey(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        scopes=decode_scopes(row.scopes),
        models=decode_models(row.models) if row.models else None,
        limits=decode_limits(row.limits),
        created_at=row.created_at,
        rotated_at=row.rotated_at,
        previous_until=row.previous_until,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


def with_secret(shown: ApiKey, key: str) -> NewApiKey:
    """Return a key with its text."""
    fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
    return NewApiKey(**fields, key=key)
