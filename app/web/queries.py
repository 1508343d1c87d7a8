"""Reads query parameters and path ids, with OpenAI's texts for wrong ones."""

import re
from typing import Any, Literal, cast

from litestar import Request
from msgspec import Struct

from app.errors import InvalidRequest
from app.kit.pages import DEFAULT_LIMIT, MAX_LIMIT, Order, PageQuery
from app.kit.wire import STORABLE

IdPrefix = Literal["asst", "thread", "msg", "run", "step", "proj", "key", "chatcmpl", "conv", "resp"]

# Whatever else it were, no row has it, and PostgreSQL refuses to look for some of it (U+0000).
_ID = re.compile(r"[A-Za-z0-9_-]+")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def require_id(param: str, value: str, prefix: IdPrefix) -> str:
    """Return an id that can be one of its kind. Raises InvalidRequest, as the original did for `undefined`."""
    if not value.startswith(prefix):
        raise InvalidRequest(
            f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefix}'.",
            param=param,
            code="invalid_value",
        )
    return require_plain(param, value)


def require_plain(param: str, value: str) -> str:
    """Return an id that can be one, of whatever kind. Raises InvalidRequest."""
    if not _ID.fullmatch(value):
        raise InvalidRequest(
            f"Invalid '{param}': '{value}'. Expected an ID that contains letters, numbers, underscores, or dashes, "
            "but this value contained additional characters.",
            param=param,
            code="invalid_value",
        )
    return value


def require_storable(param: str, value: str) -> str:
    """Return a text that a column can hold: PostgreSQL even refuses to look for another. Raises InvalidRequest."""
    if not re.fullmatch(STORABLE, value):
        text = f"string does not match pattern. Expected a string that matches the pattern '{STORABLE}'."
        raise InvalidRequest(f"Invalid '{param}': {text}", param=param, code="invalid_value")
    return value


def page_query(request: Request[Any, Any, Any]) -> PageQuery:
    """Read `limit`, `order`, `after` and `before`. Raises InvalidRequest."""
    params = request.query_params
    return PageQuery(
        limit=_limit(params.get("limit")),
        order=_order(params.get("order")),
        after=_cursor("after", params.get("after")),
        before=_cursor("before", params.get("before")),
    )


def forward_page(request: Request[Any, Any, Any]) -> PageQuery:
    """Read `limit`, `order` and `after` of a list that cannot be read backwards. Raises InvalidRequest."""
    params = request.query_params
    return PageQuery(
        limit=_limit(params.get("limit")),
        order=_order(params.get("order")),
        after=_cursor("after", params.get("after")),
    )


def ascending_page(request: Request[Any, Any, Any]) -> PageQuery:
    """Read `limit`, `order` and `after` of a list that is ascending by itself and cannot be read backwards."""
    params = request.query_params
    return PageQuery(
        limit=_limit(params.get("limit")),
        order=_order(params.get("order", "asc")),
        after=_cursor("after", params.get("after")),
    )


def _cursor(param: str, text: str | None) -> str | None:
    return require_plain(param, text) if text else None


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not _INTEGER.fullmatch(text):
        raise InvalidRequest(
            "Invalid type for 'limit': expected an integer, but got a string instead.",
            param="limit",
            code="invalid_type",
        )
    limit = int(text)
    if limit > MAX_LIMIT:
        raise _limit_refused("above maximum", f"<= {MAX_LIMIT}", limit, "integer_above_max_value")
    if limit < 1:
        raise _limit_refused("below minimum", ">= 1", limit, "integer_below_min_value")
    return limit


def _limit_refused(word: str, bound: str, got: int, code: str) -> InvalidRequest:
    text = f"Invalid 'limit': integer {word} value. Expected a value {bound}, but got {got} instead."
    return InvalidRequest(text, param="limit", code=code)


def _order(text: str | None) -> Order:
    if text is None or text in ("asc", "desc"):
        return cast(Order, text or "desc")
    raise InvalidRequest(
        f"Invalid value: '{text}'. Supported values are: 'asc' and 'desc'.",
        param="order",
        code="invalid_value",
    )


def after_event(request: Request[Any, Any, Any]) -> int:
    """Read the number of the last event that a reader has seen, from `after` or `Last-Event-ID`; 0 for none."""
    header = request.headers.get("last-event-id") or "0"  # an empty one is how some send none
    found = request.query_params.get("after", header)
    if not all(_INTEGER.fullmatch(text) and not text.startswith("-") for text in (found, header)):
        raise InvalidRequest(
            "Invalid type for 'after': expected an integer, but got a string instead.",
            param="after",
            code="invalid_type",
        )
    return int(found)


class Replay(Struct, frozen=True):
    """Whether a response's events are wanted rather than itself, and the number of the last that was seen."""

    stream: bool
    starting_after: int


def replay(request: Request[Any, Any, Any]) -> Replay:
    """Read `stream` and `starting_after`; numbers begin at 0, so -1 stands for none seen. Raises InvalidRequest."""
    stream = request.query_params.get("stream", "false")
    after = request.query_params.get("starting_after")
    if stream not in ("true", "false"):
        raise _wrong_kind("stream", "a boolean")
    if after is not None and (not _INTEGER.fullmatch(after) or after.startswith("-")):
        raise _wrong_kind("starting_after", "an integer")
    return Replay(stream == "true", -1 if after is None else int(after))


def _wrong_kind(param: str, kind: str) -> InvalidRequest:
    text = f"Invalid type for '{param}': expected {kind}, but got a string instead."
    return InvalidRequest(text, param=param, code="invalid_type")


def project_filter(request: Request[Any, Any, Any]) -> str | None:
    """Read `project_id`: the one project whose objects an administrator wants to see. Raises InvalidRequest."""
    text = request.query_params.get("project_id")
    return require_id("project_id", text, "proj") if text else None


def metadata_filter(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Read `metadata[key]=value` parameters."""
    found = {}
    for name, value in request.query_params.multi_items():
        if name.startswith("metadata[") and name.endswith("]"):
            found[name[len("metadata[") : -1]] = str(value)
    return found
