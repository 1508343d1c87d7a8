"""What an operation takes and answers, as /openapi.json tells it. Read from the handler: its path, hints and body."""

from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from app.kit.ids import ID_PREFIXES, id_pattern
from app.kit.pages import DEFAULT_LIMIT, MAX_LIMIT
from app.kit.wire import STORABLE
from app.web.auth import is_open
from app.web.events import EventStream
from app.web.openapi_links import path_names

Schema = dict[str, Any]

ERRORS = {
    400: "The request cannot be carried out as it stands; the message says why.",
    401: "No key, or a wrong one.",
    403: "The key may not do this; the message names the scope that it lacks.",
    404: "No such object.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "A limit of the key or its project is reached, or too many runs wait; `Retry-After` says when to come back.",
    500: "A fault of the server, which its log has under the answer's `x-request-id`.",
    503: "The server cannot do this now; `Retry-After` says when to come back.",
}
HEADERS = {
    "x-request-id": {
        "schema": {"type": "string"},
        "description": "Names this request in the server's log.",
    },
    "openai-processing-ms": {
        "schema": {"type": "integer"},
        "description": "Milliseconds until the answer began.",
    },
    **{
        f"x-ratelimit-{what}-{of}": {"schema": {"type": kind}, "description": f"{text}, where {of} are limited."}
        for what, kind, text in (
            ("limit", "integer", "What a minute holds"),
            ("remaining", "integer", "What is left of it"),
            ("reset", "string", "How long until all is there again, such as `1.5s`"),
        )
        for of in ("requests", "tokens")
    },
    "openai-version": {"schema": {"type": "string"}, "description": "The original's API version."},
}
# OpenAPI 3.1 has no word for one event of a stream; by custom the schema of an event stream is that of its events.
EVENT = {
    "type": "object",
    "description": "One of the server-sent events that the answer consists of.",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "The event's number, where it has one."},
        "event": {"type": "string", "minLength": 1, "description": "Its name; the last one is `done`."},
        "data": {"type": "string", "minLength": 1, "description": "An object as JSON; `[DONE]` in the last one."},
    },
    "required": ["event", "data"],
}

CURSOR = {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"}
PAGE = (
    (
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "How many objects.",
    ),
    ("order", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}, "By time of creation."),
    ("after", CURSOR, "Only objects after the one with this id, in the list's order."),
    ("before", CURSOR, "Only objects before the one with this id, in the list's order."),
)
FORWARD_PAGE = PAGE[:3]
_UP = {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
ASCENDING_PAGE = (PAGE[0], ("order", _UP, PAGE[1][2]), PAGE[2])
MODEL = (("model", {"type": "string", "pattern": STORABLE}, "Only what this model answered."),)
RUN_ID = (("run_id", {"type": "string", "pattern": f"^({id_pattern('run')[1:-1]})?$"}, "Only what this run made."),)
EVENT_NUMBER = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
AFTER_EVENT = (("after", EVENT_NUMBER, "Only events after the one with this number."),)
REPLAY = (
    ("stream", {"type": "boolean"}, "Answer with the response's events, from the first on."),
    ("starting_after", EVENT_NUMBER, "With `stream`: only events after the one with this number."),
)
METADATA = (
    (
        "metadata",
        {"type": "object", "additionalProperties": {"type": "string"}},
        "Only objects that have these pairs, each sent as `metadata[key]=value`.",
    ),
)
PROJECT_ID = (
    ("project_id", {"type": "string", "pattern": f"^({id_pattern('proj')[1:-1]})?$"}, "Only what belongs to it."),
)
DAY = {"type": "string", "format": "date"}
USAGE = (
    *PROJECT_ID,
    ("key_id", {"type": "string", "pattern": f"^({id_pattern('key')[1:-1]})?$"}, "Only what this key used."),
    ("first_day", DAY, "Only from this day on, in UTC."),
    ("last_day", DAY, "Only until this day, which is included."),
)
LINK = {"type": "string", "pattern": "^([0-9]{1,18}:[0-9a-f]{64})?$"}
SPAN = (
    ("after", LINK, "Only what comes after this link, `<position>:<hash>`, which must be on the chain."),
    ("anchor", LINK, "A link, `<position>:<hash>`, that must still be on the chain."),
)
THREAD_ID = {"type": "string", "pattern": "^((thread|chain|conv)[A-Za-z0-9_-]*)?$"}
EXPORT = (
    *PROJECT_ID,
    ("thread_id", THREAD_ID, "Only this thread, and the assistant that it is bound to."),
    ("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}, "How many lines."),
    ("after", CURSOR, "Where to go on: what the page before this one said."),
)
PLAIN = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{0,64}$"}
SECONDS = {"type": "integer", "minimum": 0, "maximum": 10**12 - 1}
RECORDS = (
    ("project_id", PLAIN, "Only what was done in this project."),
    ("key_id", PLAIN, "Only what was done with this key."),
    ("object_id", PLAIN, "Only what was done to this object."),
    ("action", PLAIN, "Only this action, such as `thread.delete`."),
    ("outcome", PLAIN, "Only what ended like this: `ok`, or the code of an error."),
    ("since", SECONDS, "Only what was done at this second since 1970 or later."),
    ("until", SECONDS, "Only what was done before this second since 1970."),
)
# What a handler asks for, and the query parameters that it is made from.
QUERIES = {
    "page_query": PAGE,
    "forward_page": FORWARD_PAGE,
    "ascending_page": ASCENDING_PAGE,
    "model": MODEL,
    "after_event": AFTER_EVENT,
    "metadata_filter": METADATA,
    "replay": REPLAY,
    "project_filter": PROJECT_ID,
    "run_id": RUN_ID,
    "record_filter": RECORDS,
    "span": SPAN,
    "usage_filter": USAGE,
    "export_query": EXPORT,
}


def body_type(handler: HTTPRouteHandler) -> Any:
    """Return the Struct that a handler's body is decoded into, if it has one."""
    return _hints(handler).get("data")


def answer_type(handler: HTTPRouteHandler) -> Any:
    """Return T of `Response[T]`, also in `Response[T] | EventStream`."""
    for arm in _arms(_hints(handler)["return"]):
        if get_origin(arm) is Response:
            return get_args(arm)[0]
    return None


def parameters(path: str, handler: HTTPRouteHandler) -> list[Schema]:
    """Describe what an operation takes in path, query and headers."""
    in_path = path_names(path)
    found = [_parameter("path", name, _path_schema(name), f"The {_noun(name)}'s id.") for name in in_path]
    for asked, described in QUERIES.items():
        if asked in _hints(handler) and asked not in in_path:
            found += [_parameter("query", *one) for one in described]
    if "after_event" in _hints(handler):
        number = {"type": "string", "pattern": "^[0-9]{0,18}$"}
        found.append(_parameter("header", "Last-Event-ID", number, "The same as `after`, which goes before it."))
    return found


def responses(
    path: str, handler: HTTPRouteHandler, schemas: dict[Any, Schema], error_schema: Schema
) -> dict[str, Schema]:
    """Describe what an operation answers, by status."""
    answer = answer_type(handler)
    content = {"application/json": {"schema": schemas[answer]}} if answer is not None else {}
    if _streams(handler):
        content["text/event-stream"] = {"schema": EVENT}
    found = {"200": {"description": "The answer.", "headers": HEADERS, "content": content}}
    for status in _statuses(path, handler):
        error = {"application/json": {"schema": error_schema}}
        found[str(status)] = {"description": ERRORS[status], "headers": HEADERS, "content": error}
    if path == "/health/ready":
        found["503"] = found["200"] | {"description": "One of them cannot."}
    return found


def _statuses(path: str, handler: HTTPRouteHandler) -> list[int]:
    if is_open(path):
        return [500]
    statuses = {401, 403, 429, 500, 503}
    if "{" in path or body_type(handler) is not None:
        statuses |= {400, 404}
    if QUERIES.keys() & _hints(handler).keys():
        statuses.add(400)
    if "export_query" in _hints(handler):  # it may name a thread
        statuses.add(404)
    if body_type(handler) is not None:
        statuses |= {413, 415}
    return sorted(statuses)


def _parameter(where: str, name: str, schema: Schema, text: str) -> Schema:
    found = {"name": name, "in": where, "required": where == "path", "schema": schema, "description": text}
    return found | {"style": "deepObject", "explode": True} if schema["type"] == "object" else found


def _path_schema(name: str) -> Schema:
    if name == "item_id":  # one of several kinds
        return {"type": "string", "pattern": id_pattern("")[:-2] + "+$"}
    if name in ID_PREFIXES:
        return {"type": "string", "pattern": id_pattern(ID_PREFIXES[name])}
    return {"type": "string", "minLength": 1}


def _noun(name: str) -> str:
    return name.removesuffix("_id").replace("_", " ")


def _hints(handler: HTTPRouteHandler) -> dict[str, Any]:
    return get_type_hints(handler.fn)


def _streams(handler: HTTPRouteHandler) -> bool:
    return EventStream in _arms(_hints(handler)["return"])


def _arms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
