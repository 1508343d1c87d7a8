"""Pages of a list: what a client may ask and what it receives. The statements are db/repository.py's."""

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

from msgspec import Struct

from app.kit.wire import Answer

MAX_LIMIT = 100
DEFAULT_LIMIT = 20

Order = Literal["asc", "desc"]


class HasId(Protocol):
    """Anything that a list can hold."""

    @property
    def id(self) -> str:
        """The object's id, which is also the cursor."""
        ...


T = TypeVar("T", bound=HasId)


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which page: `after` and `before` are ids of objects in the same list."""

    limit: int = DEFAULT_LIMIT
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


class Page(Answer, Generic[T], kw_only=True, frozen=True):
    """One page. `first_id` and `last_id` are empty strings when it is empty: OpenAI's schemas allow no null."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str
    last_id: str
    has_more: bool


def page_of(items: Sequence[T], *, has_more: bool) -> Page[T]:
    """Wrap items, in list order, into the envelope."""
    return Page(
        data=list(items),
        first_id=items[0].id if items else "",
        last_id=items[-1].id if items else "",
        has_more=has_more,
    )
