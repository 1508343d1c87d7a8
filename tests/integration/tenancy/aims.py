"""Every place of the exported document where a client can send an id, and what the tests put there. Pure.

Nothing here lists routes: a route or a parameter that is added is aimed at by itself, or found to be without an object.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from app.kit.ids import id_pattern
from app.web.openapi import openapi_document
from tests.fixtures.routes import framework_app

Json = dict[str, Any]
Ids = Mapping[str, str]

DOCUMENT = openapi_document(framework_app())
CURSORS = ("after", "before")
# What is sent as text and names no object of a tenant.
NO_IDS = {
    "model": "models are the server's, the same for every project",
    "order": "one of two words",
    "Last-Event-ID": "the number of an event",
    "first_day": "a day",
    "last_day": "a day",
    "action": "a word of the audit",
    "outcome": "a word of the audit",
}
# Taken for whatever another server called it, and never looked up: this server has no such objects (a test says so).
NOT_LOOKED_UP = ("file_id", "file_ids", "vector_store_ids", "call_id")
OF_THE_CHAIN = ("after", "anchor")  # of the audit: places in the chain, only for administrators


class Operation(NamedTuple):
    """A method on a path, as the document describes it."""

    method: str
    path: str
    described: Json

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def path_names(self) -> list[str]:
        """The names in its path, outermost first."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def path_ids(self) -> list[str]:
        """The ids among them."""
        return [name for name in self.path_names if name not in NO_IDS]

    @property
    def is_administration(self) -> bool:
        """Whether only administrators may."""
        return self.path.startswith("/admin")

    @property
    def is_open(self) -> bool:
        """Whether it is answered without a key."""
        return self.described.get("security") == []

    @property
    def body(self) -> Json | None:
        """The schema of its body."""
        found = self.described.get("requestBody")
        return found and dict(found["content"]["application/json"]["schema"])

    def query_ids(self) -> list[str]:
        """The names of what is sent in query or headers as text and may be an id."""
        found = [one for one in self.described["parameters"] if one["in"] != "path" and is_text(one["schema"])]
        return [one["name"] for one in found if one["name"] not in NO_IDS]


class Aim(NamedTuple):
    """What of a request is another's: names of the path, a parameter of the query, or a place in the body."""

    in_path: tuple[str, ...] = ()
    in_query: str | None = None
    in_body: tuple[str, ...] = ()
    kind: str = ""
    """The name of the id that is sent in query or body."""

    def __str__(self) -> str:
        if self.in_path:
            return f"path: {', '.join(self.in_path)}"
        return f"query: {self.in_query}={self.kind}" if self.in_query else f"body: {'.'.join(self.in_body)}"


def operations() -> list[Operation]:
    """List what the document describes."""
    found = DOCUMENT["paths"].items()
    return [Operation(method, path, described) for path, methods in found for method, described in methods.items()]


def aims_of(operation: Operation, ids: Ids) -> list[Aim]:
    """Return every way to aim an operation at objects of another. Raises AssertionError where there is no object."""
    named = [*operation.path_ids, *(name for name in operation.query_ids() if name not in (*CURSORS, *OF_THE_CHAIN))]
    places = list(dict.fromkeys(body_ids(operation.body))) if operation.body else []
    named += [place[-1] for place in places if place[-1] not in NOT_LOOKED_UP]
    lacking = sorted({name for name in named if name not in ids})
    assert not lacking, (
        f"{operation} takes {lacking}, and the other project has no such object: make one in tenants.py, or say in "
        "aims.py why it is no id."
    )
    paths = [
        Aim(in_path=chosen)
        for size in range(1, len(operation.path_ids) + 1)
        for chosen in combinations(operation.path_ids, size)
    ]
    bodies = [Aim(in_body=place, kind=place[-1]) for place in places if place[-1] not in NOT_LOOKED_UP]
    return [*paths, *_query_aims(operation, ids), *bodies]


def _query_aims(operation: Operation, ids: Ids) -> Iterator[Aim]:
    for name in operation.query_ids():
        for kind in ids if name in (*CURSORS, *OF_THE_CHAIN) else (name,):
            yield Aim(in_query=name, kind=kind)


def is_text(schema: Json) -> bool:
    """Tell whether a parameter can be any text."""
    return schema.get("type") == "string"


def has_form_of_an_id(schema: Json) -> bool:
    """Tell whether a field is for ids, whatever it is called."""
    arms = (schema, *schema.get("anyOf", ()))
    return any(str(arm.get("pattern", "")).endswith(id_pattern("")[1:]) for arm in arms)


def resolved(schema: Json) -> Json:
    """Follow a reference."""
    reference = schema.get("$ref")
    return dict(DOCUMENT["components"]["schemas"][reference.rsplit("/", 1)[1]]) if reference else schema


def body_ids(schema: Json, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Find the places of ids in a body: `("thread", "assistant_id")`, `("tool_outputs", "0", "tool_call_id")`."""
    schema = resolved(schema)
    for arm in schema.get("anyOf", ()):
        yield from body_ids(arm, place)
    for name, below in schema.get("properties", {}).items():
        if re.search(r"(^|_)ids?$", name) or has_form_of_an_id(below):
            yield (*place, name)
        elif place.count(name) < 1:
            yield from body_ids(below, (*place, name))
    if schema.get("type") == "array":
        yield from body_ids(schema.get("items", {}), (*place, "0"))


def smallest(schema: Json, own: Json) -> Any:
    """Return the smallest body that a schema takes, with one's own values where it has names for them."""
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest(schema["anyOf"][0], own)
    kinds = schema.get("type")
    match kinds[0] if isinstance(kinds, list) else kinds:
        case "object":
            properties = schema.get("properties", {})
            wanted = [name for name in properties if name in schema.get("required", ()) or name in own]
            return {name: own.get(name) or smallest(properties[name], own) for name in wanted}
        case "array":
            return [smallest(schema["items"], own)]
        case "string":
            return "x"
        case kind:
            return {"integer": 1, "number": 1, "boolean": False, "null": None}[str(kind)]


def with_id(body: Any, place: tuple[str, ...], value: str) -> Any:
    """Return a body that has an id at a place, and whatever objects must be around it."""
    if not place:
        return value
    if place == ("id",):
        return {"id": value}  # what has nothing but an id stands for what has that id
    name, *rest = place
    if name == "0":
        return [with_id(body[0] if body else {}, tuple(rest), value)]
    return {**(body or {}), name: with_id((body or {}).get(name), tuple(rest), value)}
