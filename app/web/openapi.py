"""/openapi.json: the document of every route, made from the handlers and from msgspec's own schemas of the Structs.

msgspec writes them because it also decodes by them: bounds, unions and refused fields are those that hold.
"""

import inspect
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from litestar import Controller, Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from app import __version__
from app.kit.pages import DEFAULT_LIMIT, MAX_LIMIT
from app.kit.wire import Answer
from app.web.auth import is_open
from app.web.errors import ErrorEnvelope

REF = "#/components/schemas/{name}"
DESCRIPTION = (
    "OpenAI's Assistants API, served on your own GPU. Programs written for the official SDKs change their base URL "
    "and key, and nothing else."
)
ERRORS = {
    400: "The request cannot be carried out as it stands; the message says why.",
    401: "No key, or a wrong one.",
    404: "No such object.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many runs are waiting; `Retry-After` says when to come back.",
    500: "A fault of the server, which its log has under the answer's `x-request-id`.",
    503: "The server cannot do this now; `Retry-After` says when to come back.",
}
PAGE_PARAMETERS = (
    (
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "How many objects.",
    ),
    ("order", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}, "By time of creation."),
    ("after", {"type": "string"}, "Only objects after the one with this id, in the list's order."),
    ("before", {"type": "string"}, "Only objects before the one with this id, in the list's order."),
)


class OpenApiController(Controller):
    """The document itself."""

    include_in_schema = False

    @get("/openapi.json", media_type="application/json")
    async def document(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Return the OpenAPI 3.1 document of this server."""
        return Response(_encoded(request.app), media_type="application/json")


@lru_cache(maxsize=4)
def _encoded(app: Litestar) -> bytes:
    return msgspec.json.encode(openapi_document(app))


def openapi_document(app: Litestar) -> dict[str, Any]:
    """Describe every route of an app."""
    handlers = sorted(_handlers(app), key=lambda found: found[0])
    kinds = {kind for _, handler in handlers for kind in (_body_type(handler), _answer_type(handler)) if kind}
    ordered = sorted(kinds, key=str)
    (*schemas, error_schema), components = msgspec.json.schema_components([*ordered, ErrorEnvelope], ref_template=REF)
    _require_what_is_always_there(components)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for path, handler in handlers:
        for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
            paths.setdefault(path, {})[method.lower()] = _operation(path, handler, by_type, error_schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sovereign Assistant API", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": _tags(handlers),
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "API_KEY as a bearer token."},
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "The same key.",
                },
            },
        },
    }


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
                yield _template(route.path), handler


def _template(path: str) -> str:
    """Turn `/v1/threads/{thread_id:str}` into `/v1/threads/{thread_id}`."""
    parts = [part.split(":", 1)[0] + "}" if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


def _hints(handler: HTTPRouteHandler) -> dict[str, Any]:
    return get_type_hints(handler.fn)


def _body_type(handler: HTTPRouteHandler) -> Any:
    return _hints(handler).get("data")


def _answer_type(handler: HTTPRouteHandler) -> Any:
    """Return T of `Response[T]`, also in `Response[T] | Stream`."""
    for arm in _arms(_hints(handler)["return"]):
        if get_origin(arm) is Response:
            return get_args(arm)[0]
    return None


def _streams(handler: HTTPRouteHandler) -> bool:
    return Stream in _arms(_hints(handler)["return"])


def _arms(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _operation(
    path: str, handler: HTTPRouteHandler, schemas: dict[Any, Any], error_schema: dict[str, Any]
) -> dict[str, Any]:
    text = inspect.getdoc(handler.fn) or ""
    answer = _answer_type(handler)
    answers = {"application/json": {"schema": schemas[answer]}} if answer is not None else {}
    if _streams(handler):
        answers["text/event-stream"] = {"schema": {"type": "string", "description": "Server-sent events."}}
    operation: dict[str, Any] = {
        "operationId": handler.operation_id,
        "summary": text.split(".", 1)[0].split("\n", 1)[0],
        "description": text,
        "tags": list(_tag_names(_controller(handler))),
        "parameters": [*_path_parameters(path), *_query_parameters(handler)],
        "responses": {"200": {"description": "The answer.", "headers": _headers(), "content": answers}},
    }
    for status in _statuses(path, handler):
        content = {"application/json": {"schema": error_schema}}
        operation["responses"][str(status)] = {
            "description": ERRORS[status],
            "headers": _headers(),
            "content": content,
        }
    if path == "/health/ready":
        operation["responses"]["503"] = operation["responses"]["200"] | {"description": "One of them cannot."}
    if is_open(path):
        operation["security"] = []
    body = _body_type(handler)
    if body is not None:
        required = bool(schemas[body]) and _has_required(body)
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": schemas[body]}},
        }
    return operation


def _has_required(body: type[msgspec.Struct]) -> bool:
    return any(field.required for field in msgspec.structs.fields(body))


def _statuses(path: str, handler: HTTPRouteHandler) -> list[int]:
    if is_open(path):
        return [500]
    statuses = {401, 500, 503}
    if "{" in path or _body_type(handler) is not None:
        statuses |= {400, 404}
    if "page_query" in _hints(handler):
        statuses.add(400)
    if _body_type(handler) is not None:
        statuses |= {413, 415}
    if _streams(handler):
        statuses.add(429)
    return sorted(statuses)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "description": f"The {name.removesuffix('_id').replace('_', ' ')}'s id.",
        }
        for name in names
    ]


def _query_parameters(handler: HTTPRouteHandler) -> list[dict[str, Any]]:
    hints = _hints(handler)
    parameters = list(PAGE_PARAMETERS) if "page_query" in hints else []
    if "run_id" in hints and "run_id:str" not in "".join(handler.paths):
        parameters.append(("run_id", {"type": "string"}, "Only what this run made."))
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, schema, text in parameters
    ]


def _headers() -> dict[str, Any]:
    return {
        "x-request-id": {
            "schema": {"type": "string"},
            "description": "Names this request in the server's log.",
        },
        "openai-processing-ms": {
            "schema": {"type": "integer"},
            "description": "Milliseconds until the answer began.",
        },
        "openai-version": {"schema": {"type": "string"}, "description": "The original's API version."},
    }


def _controller(handler: HTTPRouteHandler) -> type[Controller]:
    """Return the class that a handler was written in; the framework keeps only its attributes."""
    found: type[Controller] = getattr(sys.modules[handler.fn.__module__], handler.fn.__qualname__.split(".")[0])
    return found


def _tag_names(controller: type[Controller]) -> tuple[str, ...]:
    return tuple(vars(controller).get("tags") or ())


def _tags(handlers: list[tuple[str, HTTPRouteHandler]]) -> list[dict[str, str]]:
    controllers = {_controller(handler) for _, handler in handlers}
    found = {tag: inspect.getdoc(controller) or "" for controller in controllers for tag in _tag_names(controller)}
    return [{"name": name, "description": text} for name, text in sorted(found.items())]


def _require_what_is_always_there(components: dict[str, Any]) -> None:
    """Mark the fields of answers as required: msgspec leaves out those that have a default."""
    for answer in _subclasses(Answer):
        if answer.__struct_config__.omit_defaults:
            continue
        fields = msgspec.structs.fields(answer)
        always = [field.encode_name for field in fields if field.default is not msgspec.UNSET]
        tag = answer.__struct_config__.tag_field
        for name, schema in components.items():
            if name == answer.__name__ or name.startswith(f"{answer.__name__}_"):  # Page[Run] is Page_Run_
                schema["required"] = ([tag] if tag else []) + always


def _subclasses(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)
