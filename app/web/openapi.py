"""/openapi.json: the document of every route, made from the handlers and from msgspec's own schemas of the Structs.

msgspec writes them because it also decodes by them: bounds, unions and refused fields are those that hold.
"""

import inspect
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Controller, Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from app import __version__
from app.kit.wire import Answer
from app.web.auth import is_open
from app.web.errors import ErrorEnvelope
from app.web.openapi_links import links
from app.web.openapi_operations import answer_type, body_type, parameters, responses

REF = "#/components/schemas/{name}"
DESCRIPTION = (
    "OpenAI's Assistants API, served on your own GPU. Programs written for the official SDKs change their base URL "
    "and key, and nothing else."
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
    handlers = sorted(_handlers(app), key=lambda found: (found[0], *sorted(found[1].http_methods)))
    kinds = {kind for _, handler in handlers for kind in (body_type(handler), answer_type(handler)) if kind}
    ordered = sorted(kinds, key=str)
    (*schemas, error_schema), components = msgspec.json.schema_components([*ordered, ErrorEnvelope], ref_template=REF)
    _require_what_is_always_there(components)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for path, handler in handlers:
        for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
            paths.setdefault(path, {})[method.lower()] = _operation(path, handler, by_type, error_schema)
    _link(paths, handlers)
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
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key as a bearer token."},
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "The same key.",
                },
            },
        },
    }


def _link(paths: dict[str, dict[str, Any]], handlers: list[tuple[str, HTTPRouteHandler]]) -> None:
    """Say of each answer where its id can go."""
    by_path = {path: [operation["operationId"] for operation in methods.values()] for path, methods in paths.items()}
    for path, handler in handlers:
        found = links(path, answer_type(handler), by_path)
        for method in handler.http_methods - {"OPTIONS", "HEAD"} if found else ():
            paths[path][method.lower()]["responses"]["200"]["links"] = found


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
                yield _template(route.path), handler


def _template(path: str) -> str:
    """Turn `/v1/threads/{thread_id:str}` into `/v1/threads/{thread_id}`."""
    parts = [part.split(":", 1)[0] + "}" if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


def _operation(
    path: str, handler: HTTPRouteHandler, schemas: dict[Any, Any], error_schema: dict[str, Any]
) -> dict[str, Any]:
    text = inspect.getdoc(handler.fn) or ""
    operation: dict[str, Any] = {
        "operationId": handler.operation_id,
        "summary": text.split(".", 1)[0].split("\n", 1)[0],
        "description": text,
        "tags": list(_tag_names(_controller(handler))),
        "parameters": parameters(path, handler),
        "responses": responses(path, handler, schemas, error_schema),
    }
    if is_open(path):
        operation["security"] = []
    body = body_type(handler)
    if body is not None:
        required = bool(schemas[body]) and _has_required(body)
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": schemas[body]}},
        }
    return operation


def _has_required(body: type[msgspec.Struct]) -> bool:
    return any(field.required for field in msgspec.structs.fields(body))


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
