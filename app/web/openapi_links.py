"""Which operations an answer leads to: links from what makes or lists objects to what takes their ids. Pure."""

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin

import msgspec

from app.kit.ids import ID_PREFIXES
from app.kit.pages import Page

Json = dict[str, Any]


def links(path: str, answer: Any, operations: Mapping[str, list[str]]) -> dict[str, Json]:
    """Describe where an answer leads, given the operation ids of every path; nowhere unless it brings a new id."""
    kind, body = (get_args(answer)[0], "#/data/0") if get_origin(answer) is Page else (answer, "#")
    own = own_id(kind)
    given = path_names(path)
    if own is None or own in given:
        return {}
    known = {name: f"$request.path.{name}" for name in given} | {own: f"$response.body{body}/id"}
    for field in msgspec.structs.fields(kind):
        if field.name in ID_PREFIXES and field.name not in known:
            known[field.name] = f"$response.body{body}/{field.name}"
    return {
        operation: {"operationId": operation, "parameters": {name: known[name] for name in path_names(other)}}
        for other, found in operations.items()
        if own in path_names(other) and known.keys() >= set(path_names(other))
        for operation in found
    }


def own_id(kind: Any) -> str | None:
    """Return the name under which an object's own id is sent: `step_id` for a RunStep."""
    name = getattr(kind, "__name__", "").lower()
    return next((found for found in ID_PREFIXES if name.endswith(found.removesuffix("_id"))), None)


def path_names(path: str) -> list[str]:
    """Return the names of a path's parameters."""
    return re.findall(r"{(\w+)}", path)
